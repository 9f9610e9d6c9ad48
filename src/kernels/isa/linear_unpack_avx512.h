// What the AVX-512 bodies of linear layers share: packed weights to operands in registers, the inverse of the
// packing in linear_layout.h, and the end of a tile. Internal linkage, as there.
#pragma once

#include <immintrin.h>

#include <cstddef>

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

// The 8 operands of 32 k.
template <int kBits>
PAGODA_INLINE void unpack(const uint8_t* p, __m512i (&w)[8]) {
  if constexpr (kBits == 4) {
    PAGODA_UNROLL for (int g = 0; g < 4; ++g) {
      const __m512i v = load(p + 64 * g);
      w[2 * g] = _mm512_and_si512(v, _mm512_set1_epi8(15));
      w[2 * g + 1] = field<4>(v, 15);
    }
  } else if constexpr (kBits == 5) {
    __m512i v[5];
    PAGODA_UNROLL for (int i = 0; i < 5; ++i) {
      v[i] = load(p + 64 * i);
      w[i] = _mm512_and_si512(v[i], _mm512_set1_epi8(31));
    }
    w[5] = field_or<3>(v[1], 0x18, field<5>(v[0], 7));
    w[6] = field_or<3>(v[3], 0x18, field<5>(v[2], 7));
    w[7] = field_or<1>(v[3], 0x10, field_or<2>(v[1], 0x08, field<5>(v[4], 7)));
  } else if constexpr (kBits == 6) {
    PAGODA_UNROLL for (int h = 0; h < 2; ++h) {
      __m512i v[3];
      PAGODA_UNROLL for (int i = 0; i < 3; ++i) {
        v[i] = load(p + 64 * (3 * h + i));
        w[4 * h + i] = _mm512_and_si512(v[i], _mm512_set1_epi8(63));
      }
      w[4 * h + 3] = field_or<2>(v[2], 0x30, field_or<4>(v[1], 0x0c, field<6>(v[0], 3)));
    }
  } else {
    PAGODA_UNROLL for (int o = 0; o < 8; ++o) w[o] = load(p + 64 * o);
  }
}

// Adds the bias and stores or adds the outputs of a tile.
template <int kTokens>
PAGODA_INLINE void store(const Tile& tile, const __m512 (&acc)[kTokens]) {
  const auto mask = static_cast<__mmask16>((1u << tile.num_rows) - 1);
  const __m512 bias = tile.bias == nullptr ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask, tile.bias);
  PAGODA_UNROLL for (int t = 0; t < kTokens; ++t) {
    float* out = tile.out + t * tile.out_stride;
    __m512 y = tile.bias == nullptr ? acc[t] : _mm512_add_ps(acc[t], bias);
    if (tile.store == Store::add) y = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, out), y);
    _mm512_mask_storeu_ps(out, mask, y);
  }
}

}  // namespace
}  // namespace pagoda
