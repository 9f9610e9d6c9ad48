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

// One vector of a run of bf16 weights, from shifted codes and rotated lanes. vpermw looks at the low 5 bits
// of a place only.
PAGODA_INLINE __m512i join_bf16(__m512i places, __m512i lanes, __m512i exponents) {
  constexpr int kAAndBOrC = 0xea;
  return _mm512_ternarylogic_epi32(lanes, _mm512_set1_epi32(static_cast<int>(kSignsAndMantissas)),
                                   _mm512_permutexvar_epi16(places, exponents), kAAndBOrC);
}
template <Packing kPacking, int kVector>
PAGODA_INLINE __m512i bf16_pairs(const uint8_t* run, __m512i exponents) {
  if constexpr (kPacking == Packing::plain) return load(run);
  constexpr int kShift = kCodeBits * (kVector % kCodesPerWord);
  const __m512i lanes = load(run + 64 * (kVector / 2));
  const __m512i codes = load(run + bf16_layout(kPacking).codes + 64 * (kVector / kCodesPerWord));
  return join_bf16(kShift == 0 ? codes : _mm512_srli_epi16(codes, kShift),
                   kVector % 2 == 0 ? lanes : _mm512_rol_epi32(lanes, kPairRotation), exponents);
}
// Vector i of a palette's run.
PAGODA_INLINE __m512i palette_pairs(const uint8_t* run, int64_t i, __m512i exponents) {
  const __m512i lanes = load(run + 64 * (i / 2));
  const __m512i codes = load(run + bf16_layout(Packing::palette).codes + 64 * (i / kCodesPerWord));
  const __m128i shift = _mm_cvtsi64_si128(kCodeBits * (i % kCodesPerWord));
  const __m512i rotation = _mm512_set1_epi32(static_cast<int>(kPairRotation * (i % 2)));
  return join_bf16(_mm512_srl_epi16(codes, shift), _mm512_rolv_epi32(lanes, rotation), exponents);
}

template <Packing kPacking>
PAGODA_INLINE __m512i load_palette(const uint8_t* group) {
  if constexpr (kPacking == Packing::plain) return _mm512_setzero_si512();
  const __m256i exponents = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(group));
  return _mm512_slli_epi16(_mm512_cvtepu8_epi16(exponents), kExponentShift);
}

// Calls use(w, offset) for all pairs of k, ascending, where w[g] has those of group g. `place` moves along,
// kPairBytes a pair: the pair's bytes are `offset` from where it is then.
template <Packing kPacking, int kPairBytes, int kGroups, int kTokens, class Place, class Use>
PAGODA_INLINE void for_each_bf16_pair(const Tile& tile, Place& place, Use use) {
  static constexpr Bf16Layout kLayout = bf16_layout(kPacking);
  __m512i exponents[kGroups];
  PAGODA_UNROLL for (int g = 0; g < kGroups; ++g) exponents[g] =
      load_palette<kPacking>(tile.group + g * tile.group_bytes);
  const uint8_t* run = tile.group + kLayout.header_bytes;
  const auto use_vector = [&]<int kVector>() PAGODA_INLINE_LAMBDA {
    if constexpr (64 * kVector < kLayout.run_bytes) {
      PAGODA_UNROLL for (int g = 0; g < kGroups; ++g)
          prefetch_pairs<kPacking, kTokens>(run + 64 * kVector + g * tile.group_bytes, tile);
    }
    __m512i w[kGroups];
    PAGODA_UNROLL for (int g = 0; g < kGroups; ++g) w[g] =
        bf16_pairs<kPacking, kVector>(run + g * tile.group_bytes, exponents[g]);
    use(w, kPairBytes * kVector);
  };
  int64_t left = (tile.num_cols + 1) / 2;
  for (; left >= kLayout.run_vectors; left -= kLayout.run_vectors, run += kLayout.run_bytes) {
    [&]<int... kVector>(std::integer_sequence<int, kVector...>) PAGODA_INLINE_LAMBDA {
      (..., use_vector.template operator()<kVector>());
    }(std::make_integer_sequence<int, kLayout.run_vectors>());
    place.advance(kPairBytes * kLayout.run_vectors);
  }
  // The last run may have fewer.
  if constexpr (kPacking == Packing::palette) {
    for (int64_t i = 0; i < left; ++i) {
      __m512i w[kGroups];
      PAGODA_UNROLL for (int g = 0; g < kGroups; ++g) w[g] =
          palette_pairs(run + g * tile.group_bytes, i, exponents[g]);
      use(w, 0);
      place.advance(kPairBytes);
    }
  }
}

struct PaletteUnpacker {
  // Writes a group of a palette as plain packing has it.
  [[gnu::noinline]] static void unpack_palette(const uint8_t* group, int64_t num_cols,
                                               uint8_t* out) noexcept {
    const Tile tile = {.group = group, .num_cols = num_cols, .prefetch_bytes = kPrefetchBytes};
    struct {
      uint8_t* at;
      PAGODA_INLINE void advance(int64_t bytes) { at += bytes; }
    } place = {out};
    for_each_bf16_pair<Packing::palette, 64, 1, 1>(
        tile, place, [&](const __m512i(&w)[1], int offset) PAGODA_INLINE_LAMBDA {
          _mm512_storeu_si512(place.at + offset, w[0]);
        });
  }
};

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
