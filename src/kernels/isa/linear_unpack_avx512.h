// What the AVX-512 bodies of linear layers share: packed weights to operands in registers, the inverse of the
// packing in linear_layout.h, and the end of a tile. Internal linkage, as there.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <utility>

#include "kernels/isa/linear_driver.h"

namespace pagoda {
namespace {

PAGODA_INLINE __m512i load(const uint8_t* p) {
  return _mm512_loadu_si512(p);
}
PAGODA_INLINE __m512i broadcast(const void* p) {
  int32_t value;
  __builtin_memcpy(&value, p, sizeof value);
  return _mm512_set1_epi32(value);
}
PAGODA_INLINE __m512 broadcast_float(const void* p) {
  return _mm512_castsi512_ps(broadcast(p));
}
PAGODA_INLINE __m512 load_f16(const uint8_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
// Pairs of bf16 in 16 lanes.
PAGODA_INLINE __m512 even_bf16(__m512i pairs) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
}
PAGODA_INLINE __m512 odd_bf16(__m512i pairs) {
  return _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
}
PAGODA_INLINE __m128i load128(const uint8_t* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}

// (v >> shift) & mask, where mask cuts what the shift drags in from the neighbouring byte.
template <int kShift>
PAGODA_INLINE __m512i field(__m512i v, int mask) {
  return _mm512_and_si512(_mm512_srli_epi32(v, kShift), _mm512_set1_epi8(static_cast<char>(mask)));
}
// ((v >> shift) & mask) | rest, in one ternary operation after the shift.
template <int kShift>
PAGODA_INLINE __m512i field_or(__m512i v, int mask, __m512i rest) {
  constexpr int kAAndBOrC = 0xea;
  return _mm512_ternarylogic_epi32(_mm512_srli_epi32(v, kShift), _mm512_set1_epi8(static_cast<char>(mask)),
                                   rest, kAAndBOrC);
}

// Operand kOperand of the 8 of 32 k.
template <int kBits, int kOperand>
PAGODA_INLINE __m512i operand(const uint8_t* p) {
  const auto v = [p](int i) { return load(p + 64 * i); };
  const auto low = [](__m512i x, int mask) {
    return _mm512_and_si512(x, _mm512_set1_epi8(static_cast<char>(mask)));
  };
  if constexpr (kBits == 4) {
    return kOperand % 2 == 0 ? low(v(kOperand / 2), 15) : field<4>(v(kOperand / 2), 15);
  } else if constexpr (kBits == 5) {
    if constexpr (kOperand == 5) return field_or<3>(v(1), 0x18, field<5>(v(0), 7));
    if constexpr (kOperand == 6) return field_or<3>(v(3), 0x18, field<5>(v(2), 7));
    if constexpr (kOperand == 7) return field_or<1>(v(3), 0x10, field_or<2>(v(1), 0x08, field<5>(v(4), 7)));
    return low(v(kOperand), 31);
  } else if constexpr (kBits == 6) {
    constexpr int kHalf = kOperand / 4 * 3;
    if constexpr (kOperand % 4 == 3)
      return field_or<2>(v(kHalf + 2), 0x30, field_or<4>(v(kHalf + 1), 0x0c, field<6>(v(kHalf), 3)));
    return low(v(kHalf + kOperand % 4), 63);
  } else {
    return v(kOperand);
  }
}

// The 8 operands of 32 k.
template <int kBits>
PAGODA_INLINE void unpack(const uint8_t* p, __m512i (&w)[8]) {
  [&]<int... kOperand>(std::integer_sequence<int, kOperand...>) {
    (..., (w[kOperand] = operand<kBits, kOperand>(p)));
  }(std::make_integer_sequence<int, 8>());
}

// Vectors of a tile: [token][group].
template <int kTokens, int kGroups>
PAGODA_INLINE void clear(__m512i (&sums)[kTokens][kGroups]) {
  PAGODA_UNROLL for (int t = 0; t < kTokens; ++t) PAGODA_UNROLL for (int g = 0; g < kGroups; ++g) sums[t][g] =
      _mm512_setzero_si512();
}
template <int kTokens, int kGroups>
PAGODA_INLINE void clear(__m512 (&sums)[kTokens][kGroups]) {
  PAGODA_UNROLL for (int t = 0; t < kTokens; ++t) PAGODA_UNROLL for (int g = 0; g < kGroups; ++g) sums[t][g] =
      _mm512_setzero_ps();
}

// Of the same place in each group.
template <int kBytes, int kTokens, int kGroups>
PAGODA_INLINE void prefetch_groups(const uint8_t* p, const Tile& tile) {
  PAGODA_UNROLL for (int g = 0; g < kGroups; ++g)
      prefetch<kBytes, kTokens>(p + g * tile.group_bytes, tile.prefetch_bytes);
}

// Adds the bias and stores or adds the outputs of a tile. Of several groups all but the last are whole.
template <int kTokens, int kGroups>
PAGODA_INLINE void store(const Tile& tile, const __m512 (&acc)[kTokens][kGroups]) {
  PAGODA_UNROLL for (int g = 0; g < kGroups; ++g) {
    const int first = g * kRowsPerGroup;
    const int num_rows = g + 1 < kGroups ? kRowsPerGroup : tile.num_rows - first;
    const auto mask = static_cast<__mmask16>((1u << num_rows) - 1);
    const __m512 bias =
        tile.bias == nullptr ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask, tile.bias + first);
    PAGODA_UNROLL for (int t = 0; t < kTokens; ++t) {
      float* out = tile.out + t * tile.out_stride + first;
      __m512 y = tile.bias == nullptr ? acc[t][g] : _mm512_add_ps(acc[t][g], bias);
      if (tile.store == Store::add) y = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, out), y);
      _mm512_mask_storeu_ps(out, mask, y);
    }
  }
}

}  // namespace
}  // namespace pagoda
