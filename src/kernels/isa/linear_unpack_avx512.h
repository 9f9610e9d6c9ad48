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

template <int kLeft>
PAGODA_INLINE __m512i moved(__m512i v) {
  return kLeft > 0 ? _mm512_slli_epi32(v, kLeft) : kLeft < 0 ? _mm512_srli_epi32(v, -kLeft) : v;
}
// (v >> shift) & mask, where mask cuts what the shift drags in from the neighbouring byte.
template <int kShift>
PAGODA_INLINE __m512i field(__m512i v, int mask) {
  return _mm512_and_si512(moved<-kShift>(v), _mm512_set1_epi8(static_cast<char>(mask)));
}
// ((v >> shift) & mask) | rest, in one ternary operation after the shift.
template <int kShift>
PAGODA_INLINE __m512i field_or(__m512i v, int mask, __m512i rest) {
  constexpr int kAAndBOrC = 0xea;
  return _mm512_ternarylogic_epi32(moved<-kShift>(v), _mm512_set1_epi8(static_cast<char>(mask)), rest,
                                   kAAndBOrC);
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

// The quants of 32 k; `details` where the format has them.
struct Quants {
  const uint8_t* packed;
  const uint8_t* details;
};

// The bits of a where the mask has them, else those of b.
PAGODA_INLINE __m512i select(int mask, __m512i a, __m512i b) {
  constexpr int kMaskAOrB = 0xca;
  return _mm512_ternarylogic_epi32(_mm512_set1_epi8(static_cast<char>(mask)), a, b, kMaskAOrB);
}
// Operand kOperand of an outline's upper bits and their details: fields go to their places by one shift each,
// and masks drop what comes along.
template <int kBits, int kOperand>
PAGODA_INLINE __m512i joined_operand(const Quants& quants) {
  const auto v = [&](int i) { return load(quants.packed + 64 * i); };
  const auto d = [&](int i) { return load(quants.details + 64 * i); };
  if constexpr (kBits == 4) {
    const __m512i lower = field<kOperand % 4 * 2>(d(kOperand / 4), 3);
    return field_or < kOperand % 2 == 0 ? -2 : 2 > (v(kOperand / 2), 0x3c, lower);
  } else if constexpr (kOperand < 5) {
    return select(0xf8, moved<3>(v(kOperand)), moved<-(kOperand % 2 * 3)>(d(kOperand / 2)));
  } else if constexpr (kOperand == 5) {
    return select(0xf8, select(0xc0, v(1), moved<-2>(v(0))), moved<-3>(d(2)));
  } else {
    const __m512i lower =
        select(1, moved<-kOperand>(d(0)), select(2, moved<1 - kOperand>(d(1)), moved<2 - kOperand>(d(2))));
    if constexpr (kOperand == 6) return select(0xf8, select(0xc0, v(3), moved<-2>(v(2))), lower);
    return select(0xf8, select(0x80, moved<2>(v(3)), select(0x40, moved<1>(v(1)), moved<-2>(v(4)))), lower);
  }
}

// What is multiplied of them.
template <PackedFormat kFormat, int kOperand>
PAGODA_INLINE __m512i operand_of(const Quants& quants) {
  if constexpr (kFormat.has_details) return joined_operand<kFormat.bits, kOperand>(quants);
  const __m512i upper = operand<kFormat.bits, kOperand>(quants.packed);
  if constexpr (kFormat.detail_bits == 0) return upper;
  return _mm512_or_si512(_mm512_slli_epi32(upper, kFormat.detail_bits),
                         _mm512_set1_epi8(static_cast<char>(kFormat.middle())));
}

// The 8 operands of 32 k.
template <PackedFormat kFormat>
PAGODA_INLINE void unpack(const Quants& quants, __m512i (&w)[8]) {
  [&]<int... kOperand>(std::integer_sequence<int, kOperand...>) {
    (..., (w[kOperand] = operand_of<kFormat, kOperand>(quants)));
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
      prefetch<kBytes, kTokens>(p + g * tile.group_bytes, tile.prefetch);
}

// Vector kVector of a run of weights with palettes. vpermw looks at the low 5 bits of a place, of which the
// highest belongs to the next one: both halves of `exponents` are the same.
template <int kVector>
PAGODA_INLINE __m512i palette_pairs(const uint8_t* run, __m512i exponents) {
  constexpr int kAAndBOrC = 0xea;
  const __m512i lanes = load(run + kVectorBytes * (kVector / 2));
  const __m512i codes = load(run + kRunCodes);
  const __m512i places = kVector == 0 ? codes : _mm512_srli_epi16(codes, kCodeBits * kVector);
  return _mm512_ternarylogic_epi32(kVector % 2 == 0 ? lanes : _mm512_rol_epi32(lanes, kPairRotation),
                                   _mm512_set1_epi32(static_cast<int>(kSignsAndMantissas)),
                                   _mm512_permutexvar_epi16(places, exponents), kAAndBOrC);
}
PAGODA_INLINE __m512i load_palette(const uint8_t* palette) {
  const __m256i exponents = _mm256_slli_epi16(_mm256_cvtepu8_epi16(load128(palette)), kExponentShift);
  return _mm512_broadcast_i64x4(exponents);
}

// Writes the runs of a block and a part as plain packing has them; `exceptions` begin with the block's.
[[gnu::noinline]] inline void unpack_block(const uint8_t* palette, const uint8_t* run, int64_t num_runs,
                                           const uint8_t* exceptions, int64_t block, int part,
                                           uint8_t* out) noexcept {
  const __m512i exponents = load_palette(palette);
  uint8_t* at = out;
  for (int64_t i = 0; i < num_runs; ++i, run += kPaletteRunBytes, at += kRunVectors * kVectorBytes) {
    _mm512_storeu_si512(at, palette_pairs<0>(run, exponents));
    _mm512_storeu_si512(at + kVectorBytes, palette_pairs<1>(run, exponents));
    _mm512_storeu_si512(at + 2 * kVectorBytes, palette_pairs<2>(run, exponents));
    _mm512_storeu_si512(at + 3 * kVectorBytes, palette_pairs<3>(run, exponents));
  }
  set_exceptions(exceptions, block, part, out);
}

// Calls use(w, offset) for all pairs of k, ascending, where w[p] has those of part p of the group. `place`
// moves along, kPairBytes a pair: the pair's bytes are `offset` from where it is then.
template <int kPairBytes, int kTokens, class Place, class Use>
PAGODA_INLINE void for_each_palette_pair(const Tile& tile, Place& place, Use use) {
  const PaletteLayout at = palette_layout(tile.num_cols);
  const uint8_t* palettes = tile.group;
  const uint8_t* exceptions = tile.group + at.exceptions;
  const uint8_t* run = tile.group + at.runs;
  int64_t left = (tile.num_cols + 1) / 2;
  for (int64_t block = 0; left > 0; ++block, left -= kPaletteBlockVectors) {
    if (left < kPaletteBlockVectors || PaletteException(exceptions).block() == block) [[unlikely]] {
      const int64_t num_vectors = left < kPaletteBlockVectors ? left : kPaletteBlockVectors;
      const int64_t num_runs = (num_vectors + kRunVectors - 1) / kRunVectors;
      alignas(64) uint8_t plain[kPaletteParts][kPaletteBlockVectors * kVectorBytes];
      for (int part = 0; part < kPaletteParts; ++part)
        unpack_block(palettes + part * kPaletteSize, run + part * kRunPartBytes, num_runs, exceptions, block,
                     part, plain[part]);
      exceptions = skip_exceptions(exceptions, block);
      for (int64_t i = 0; i < num_vectors; ++i) {
        use({load(plain[0] + i * kVectorBytes), load(plain[1] + i * kVectorBytes)}, 0);
        place.advance(kPairBytes);
      }
      run += num_runs * kPaletteRunBytes;
    } else {
      const __m512i exponents[kPaletteParts] = {load_palette(palettes),
                                                load_palette(palettes + kPaletteSize)};
      with_level(tile.prefetch.level, [&]<CacheLevel kLevel>() PAGODA_INLINE_LAMBDA {
        for (int i = 0; i < kBlockRuns; ++i, run += kPaletteRunBytes) {
          [&]<int... kVector>(std::integer_sequence<int, kVector...>) PAGODA_INLINE_LAMBDA {
            (..., (prefetch_palette_run<kVector, kTokens, kLevel>(run, tile.prefetch),
                   use({palette_pairs<kVector>(run, exponents[0]),
                        palette_pairs<kVector>(run + kRunPartBytes, exponents[1])},
                       kPairBytes * kVector)));
          }(std::make_integer_sequence<int, kRunVectors>());
          place.advance(kPairBytes * kRunVectors);
        }
      });
    }
    palettes += kPaletteParts * kPaletteSize;
  }
}

// The same for either packing; of plain packing w[g] has the pairs of group g.
template <Packing kPacking, int kPairBytes, int kGroups, int kTokens, class Place, class Use>
PAGODA_INLINE void for_each_bf16_pair(const Tile& tile, Place& place, Use use) {
  if constexpr (kPacking == Packing::palette) {
    static_assert(kGroups == kPaletteParts);
    return for_each_palette_pair<kPairBytes, kTokens>(tile, place, use);
  } else {
    const uint8_t* pair = tile.group;
    for (int64_t left = (tile.num_cols + 1) / 2; left > 0; --left, pair += kVectorBytes) {
      __m512i w[kGroups];
      PAGODA_UNROLL for (int g = 0; g < kGroups; ++g) {
        prefetch_pairs<kTokens>(pair + g * tile.group_bytes, tile);
        w[g] = load(pair + g * tile.group_bytes);
      }
      use(w, 0);
      place.advance(kPairBytes);
    }
  }
}

// Vectors of 16 rows that a tile of bf16 weights multiplies side by side.
template <Packing kPacking>
inline constexpr int kBf16Groups = kPacking == Packing::palette ? kPaletteParts : 1;

struct PaletteUnpacker {
  // Writes a group of a palette as plain packing has it: two groups.
  [[gnu::noinline]] static void unpack_palette(const uint8_t* group, int64_t num_cols,
                                               uint8_t* out) noexcept {
    const Tile tile = {.group = group, .num_cols = num_cols, .prefetch = {.weight_bytes = kPrefetchBytes}};
    struct {
      uint8_t* at;
      PAGODA_INLINE void advance(int64_t bytes) { at += bytes; }
    } place = {out};
    const int64_t second = (num_cols + 1) / 2 * kVectorBytes;
    for_each_palette_pair<kVectorBytes, 1>(
        tile, place, [&](const __m512i(&w)[kPaletteParts], int offset) PAGODA_INLINE_LAMBDA {
          _mm512_storeu_si512(place.at + offset, w[0]);
          _mm512_storeu_si512(place.at + offset + second, w[1]);
        });
  }
};

// Adds the bias and stores or adds the outputs of a tile.
template <int kTokens, int kGroups>
PAGODA_INLINE void store(const Tile& tile, const __m512 (&acc)[kTokens][kGroups]) {
  PAGODA_UNROLL for (int g = 0; g < kGroups; ++g) {
    const int first = g * kRowsPerGroup;
    const int rows_left = tile.num_rows - first;
    const int num_rows = rows_left < 0 ? 0 : rows_left < kRowsPerGroup ? rows_left : kRowsPerGroup;
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
