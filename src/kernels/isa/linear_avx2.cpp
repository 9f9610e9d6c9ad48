// Linear layers with AVX2: vpmaddubsw multiplies unsigned weights by signed activations and adds pairs in 16
// bits. As many of these are added as cannot overflow, then one vpmaddwd widens to 32 bits and applies the
// sub-block scale. A vector is half a group, 8 rows.
#include <immintrin.h>

#include <type_traits>
#include <utility>

#include "kernels/isa/linear_body_avx2.h"
#include "kernels/isa/tables.h"

namespace pagoda::isa_avx2 {

namespace {

// Four products each are pairs of 16 bits. Signed 8-bit weights would saturate as they are: their magnitudes
// are the unsigned operand, their signs move to the activations (|-128| is 128 as an unsigned byte, and
// activations are never -128); their products are widened at once.
template <int kBits>
struct Products {
  // How many fit into 16 bits when added: 2 * (2^bits - 1) * 127 each.
  static constexpr int kMostOperands = kBits == 5 ? 4 : kBits == 6 ? 2 : 8;
  static constexpr ZeroPoint kZeroPoint = kBits == 8 ? ZeroPoint::never : ZeroPoint::last;
  static constexpr int kMaxTokens = kBits == 8 ? 4 : 6;
  static constexpr Masks masks_of(int num_tokens) {
    if (num_tokens > 4) return Masks::memory;
    return num_tokens > (kBits == 4 ? 3 : 1) ? Masks::one_register : Masks::registers;
  }

  PAGODA_INLINE static __m256i add(__m256i sum, __m256i w, __m256i a) {
    if constexpr (kBits == 8) {
      const __m256i signed_w = _mm256_xor_si256(w, mask_of(0x80));
      const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(signed_w), _mm256_sign_epi8(a, signed_w));
      return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    }
    return _mm256_add_epi16(sum, _mm256_maddubs_epi16(w, a));
  }
  // Each twice, for both words of a lane.
  PAGODA_INLINE static __m256i scale(__m128i scales) {
    const __m256i wide = _mm256_cvtepi8_epi32(scales);
    const __m256i twice = _mm256_setr_epi8(0, 1, 0, 1, 4, 5, 4, 5, 8, 9, 8, 9, 12, 13, 12, 13,  //
                                           0, 1, 0, 1, 4, 5, 4, 5, 8, 9, 8, 9, 12, 13, 12, 13);
    return _mm256_shuffle_epi8(wide, twice);
  }
  PAGODA_INLINE static __m256i scaled(__m256i sum, __m256i scale) { return _mm256_madd_epi16(sum, scale); }
  PAGODA_INLINE static __m256i unscaled(__m256i sum) {
    return kBits == 8 ? sum : _mm256_madd_epi16(sum, stored<true>(Stored::ones16));
  }
};

template <PackedFormat kFormat>
using Quantised = QuantisedOf<kFormat, Products>;

// Of weights that are not quantised: which halves of a group, and how many tokens, one pass over them
// computes.
template <int kTokensInPass, int kHalvesInPass>
struct Pass {
  static constexpr int kTokens = kTokensInPass;
  static constexpr int kHalves = kHalvesInPass;
  TokenRows<kTokens> rows;
  int first_half;
  Prefetch prefetch;
  __m256 acc[kTokens][kHalves];
};

// Runs `accumulate(pass)` for all tokens and both halves of a tile.
template <int kTokens, int kHalves, int kTileTokens, class Accumulate>
PAGODA_INLINE void run_passes(const Tile& tile, Accumulate accumulate) {
  static_assert(kTileTokens % kTokens == 0);
  for (int token = 0; token < kTileTokens; token += kTokens) {
    for (int half = 0; half < 2; half += kHalves) {
      Pass<kTokens, kHalves> pass = {
          TokenRows<kTokens>(tile.activations + token * tile.activation_stride, tile.activation_stride),
          half,
          tile.prefetch,
          {}};
      accumulate(pass);
      float sums[kTokens][kHalves][8];
      PAGODA_UNROLL for (int t = 0; t < kTokens; ++t) {
        PAGODA_UNROLL for (int h = 0; h < kHalves; ++h) _mm256_storeu_ps(sums[t][h], pass.acc[t][h]);
      }
      store(tile, token, kTokens, half, kHalves, &sums[0][0][0]);
    }
  }
}

// Pairs of bf16 in 8 lanes.
PAGODA_INLINE __m256 even_bf16(__m256i pairs) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
}
PAGODA_INLINE __m256 odd_bf16(__m256i pairs) {
  return _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32(static_cast<int>(0xffff0000u))));
}

// acc += w * x for one k, 8 rows and all tokens of the pass; x is `offset` bytes from where the pass is.
template <class P>
PAGODA_INLINE void multiply_add(__m256 w, int offset, int h, P& pass) {
  PAGODA_UNROLL for (int t = 0; t < P::kTokens; ++t) pass.acc[t][h] =
      _mm256_fmadd_ps(w, broadcast_float(pass.rows[t] + offset), pass.acc[t][h]);
}

// Bytes of 32-bit lanes as they are, and rotated as those of the second pair of two.
alignas(32) constexpr uint8_t kRotatedBytes[32] = {3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14,
                                                   3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14};
static_assert(kPairRotation == 8);

// Eight rows of vector kVector of a run and a part of weights with palettes. Exponents are bytes; the upper
// byte of a word is of no use, and one bit of it is shifted to the sign.
template <int kVector>
PAGODA_INLINE __m256i palette_pairs(const uint8_t* palette, const uint8_t* run, int half) {
  const __m256i lanes = load(run + kVectorBytes * (kVector / 2) + 32 * half);
  const __m256i codes = load(run + kRunCodes + 32 * half);
  const __m256i places =
      _mm256_and_si256(_mm256_srli_epi16(codes, kCodeBits * kVector), _mm256_set1_epi16(kPaletteSize - 1));
  const __m256i exponents = _mm256_slli_epi16(
      _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(load128(palette)), places), kExponentShift);
  const __m256i rest = _mm256_set1_epi32(static_cast<int>(kSignsAndMantissas));
  return _mm256_or_si256(
      _mm256_and_si256(rest, kVector % 2 == 0 ? lanes : _mm256_shuffle_epi8(lanes, load(kRotatedBytes))),
      _mm256_andnot_si256(rest, exponents));
}

// Writes the runs of a block and a part as plain packing has them; `exceptions` begin with the block's.
[[gnu::noinline]] void unpack_block(const uint8_t* palette, const uint8_t* run, int64_t num_runs,
                                    const uint8_t* exceptions, int64_t block, int part,
                                    uint8_t* out) noexcept {
  uint8_t* at = out;
  for (int64_t i = 0; i < num_runs; ++i, run += kPaletteRunBytes) {
    [&]<int... kVector>(std::integer_sequence<int, kVector...>) PAGODA_INLINE_LAMBDA {
      const auto unpack = [&]<int kOne>(int half) PAGODA_INLINE_LAMBDA {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(at + kVectorBytes * kOne + 32 * half),
                            palette_pairs<kOne>(palette, run, half));
      };
      (..., (unpack.template operator()<kVector>(0), unpack.template operator()<kVector>(1)));
    }(std::make_integer_sequence<int, kRunVectors>());
    at += kRunVectors * kVectorBytes;
  }
  set_exceptions(exceptions, block, part, out);
}

// Calls use(w, h, offset) for all pairs of k of a part of the group, ascending, and the pass's halves.
// `pass.rows` moves along, kPairBytes a pair: the pair's bytes are `offset` from where it is then.
template <int kPairBytes, class P, class Use>
PAGODA_INLINE void for_each_palette_pair(const Tile& tile, int part, P& pass, Use use) {
  const PaletteLayout at = palette_layout(tile.num_cols);
  const uint8_t* palette = tile.group + part * kPaletteSize;
  const uint8_t* exceptions = tile.group + at.exceptions;
  const uint8_t* run = tile.group + at.runs + part * kRunPartBytes;
  int64_t left = (tile.num_cols + 1) / 2;
  for (int64_t block = 0; left > 0; ++block, left -= kPaletteBlockVectors) {
    if (left < kPaletteBlockVectors || PaletteException(exceptions).block() == block) [[unlikely]] {
      const int64_t num_vectors = left < kPaletteBlockVectors ? left : kPaletteBlockVectors;
      const int64_t num_runs = (num_vectors + kRunVectors - 1) / kRunVectors;
      alignas(64) uint8_t plain[kPaletteBlockVectors * kVectorBytes];
      unpack_block(palette, run, num_runs, exceptions, block, part, plain);
      exceptions = skip_exceptions(exceptions, block);
      for (int64_t i = 0; i < num_vectors; ++i) {
        PAGODA_UNROLL for (int h = 0; h < P::kHalves; ++h) {
          use(load(plain + i * kVectorBytes + 32 * (pass.first_half + h)), h, 0);
          forget_loads();
        }
        pass.rows.advance(kPairBytes);
      }
      run += num_runs * kPaletteRunBytes;
    } else {
      const auto use_vector = [&]<int kVector, CacheLevel kLevel>() PAGODA_INLINE_LAMBDA {
        prefetch_palette_run<kVector, P::kTokens, kLevel>(run, tile.prefetch);
        PAGODA_UNROLL for (int h = 0; h < P::kHalves; ++h) {
          use(palette_pairs<kVector>(palette, run, pass.first_half + h), h, kPairBytes * kVector);
          forget_loads();
        }
      };
      with_level(tile.prefetch.level, [&]<CacheLevel kLevel>() PAGODA_INLINE_LAMBDA {
        for (int i = 0; i < kBlockRuns; ++i, run += kPaletteRunBytes) {
          [&]<int... kVector>(std::integer_sequence<int, kVector...>) PAGODA_INLINE_LAMBDA {
            (..., use_vector.template operator()<kVector, kLevel>());
          }(std::make_integer_sequence<int, kRunVectors>());
          pass.rows.advance(kPairBytes * kRunVectors);
        }
      });
    }
    palette += kPaletteParts * kPaletteSize;
  }
}

// The same for either packing.
template <Packing kPacking, int kPairBytes, class P, class Use>
PAGODA_INLINE void for_each_bf16_pair(const Tile& tile, int part, P& pass, Use use) {
  if constexpr (kPacking == Packing::palette) return for_each_palette_pair<kPairBytes>(tile, part, pass, use);
  const uint8_t* pair = tile.group;
  for (int64_t left = (tile.num_cols + 1) / 2; left > 0; --left, pair += kVectorBytes) {
    prefetch_pairs<P::kTokens>(pair, tile);
    PAGODA_UNROLL for (int h = 0; h < P::kHalves; ++h) {
      use(load(pair + 32 * (pass.first_half + h)), h, 0);
      forget_loads();
    }
    pass.rows.advance(kPairBytes);
  }
}

// Calls run(part_tile, part) for the parts of a tile of bf16 weights, of which plain packing has one.
template <Packing kPacking, class Run>
PAGODA_INLINE void for_each_part(const Tile& tile, Run run) {
  constexpr int kParts = kPacking == Packing::palette ? kPaletteParts : 1;
  for (int part = 0; part < kParts && part * kRowsPerGroup < tile.num_rows; ++part) {
    const int64_t row = part * kRowsPerGroup;
    Tile part_tile = tile;
    part_tile.num_rows -= static_cast<int>(row);
    part_tile.out += row;
    if (tile.bias != nullptr) part_tile.bias += row;
    run(part_tile, part);
  }
}

struct PaletteUnpacker {
  struct Place {
    uint8_t* at;
    PAGODA_INLINE void advance(int64_t bytes) { at += bytes; }
  };
  // What for_each_palette_pair() wants of a pass.
  struct Pass {
    static constexpr int kTokens = 1;
    static constexpr int kHalves = 2;
    Place rows;
    int first_half;
  };
  // Writes a group of a palette as plain packing has it: two groups.
  [[gnu::noinline]] static void unpack_palette(const uint8_t* group, int64_t num_cols,
                                               uint8_t* out) noexcept {
    const Tile tile = {.group = group, .num_cols = num_cols, .prefetch = {.weight_bytes = kPrefetchBytes}};
    for (int part = 0; part < kPaletteParts; ++part) {
      Pass pass = {{out + part * ((num_cols + 1) / 2 * kVectorBytes)}, 0};
      for_each_palette_pair<kVectorBytes>(
          tile, part, pass, [&](__m256i w, int h, int offset) PAGODA_INLINE_LAMBDA {
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(pass.rows.at + offset + 32 * h), w);
          });
    }
  }
};

template <DType kType, class P>
PAGODA_INLINE void add_plain(const Tile& tile, P& pass) {
  constexpr int kBytesPerColumn = kType == DType::f32 ? 64 : 32;
  const uint8_t* column = tile.group + kBytesPerColumn / 2 * pass.first_half;
  for (int64_t k = 0; k < tile.num_cols; ++k, column += kBytesPerColumn) {
    prefetch<1, P::kTokens>(column, pass.prefetch);
    PAGODA_UNROLL for (int h = 0; h < P::kHalves; ++h) {
      const uint8_t* w = column + kBytesPerColumn / 2 * h;
      multiply_add(kType == DType::f32 ? _mm256_castsi256_ps(load(w)) : load_f16(w), 0, h, pass);
    }
    pass.rows.advance(sizeof(float));
  }
}

template <DType kType>
struct Plain {
  static constexpr int kMaxTileTokens = 8;

  template <int kTileTokens>
  [[gnu::noinline]] static void tile(const Tile& tile) noexcept {
    run_passes<kTileTokens, kTileTokens <= 4 ? 2 : 1, kTileTokens>(
        tile, [&](auto& pass) __attribute__((always_inline)) { add_plain<kType>(tile, pass); });
  }
};

// bf16 weights times f32 activations.
template <Packing kPacking>
struct Bf16 : PaletteUnpacker {
  static constexpr int kMaxTileTokens = 8;

  template <int kTileTokens>
  [[gnu::noinline]] static void tile(const Tile& tile) noexcept {
    constexpr int kNext = sizeof(float);
    // Unpacking takes a register more than 8 tokens leave.
    constexpr int kTokens = kPacking == Packing::palette && kTileTokens == 8 ? 4 : kTileTokens;
    for_each_part<kPacking>(tile, [&](const Tile& part_tile, int part) PAGODA_INLINE_LAMBDA {
      run_passes<kTokens, kTokens <= 4 ? 2 : 1, kTileTokens>(
          part_tile, [&](auto& pass) __attribute__((always_inline)) {
            for_each_bf16_pair<kPacking, 2 * kNext>(part_tile, part, pass,
                                                    [&](__m256i w, int h, int offset) PAGODA_INLINE_LAMBDA {
                                                      multiply_add(even_bf16(w), offset, h, pass);
                                                      forget_loads();
                                                      multiply_add(odd_bf16(w), offset + kNext, h, pass);
                                                    });
          });
    });
  }
};

// bf16 weights times bf16 activations.
template <Packing kPacking>
struct Bf16Products : PaletteUnpacker {
  static constexpr int kMaxTileTokens = 8;

  template <int kTileTokens>
  [[gnu::noinline]] static void tile(const Tile& tile) noexcept {
    // Likewise.
    constexpr int kMaxTokensOfBothHalves = kPacking == Packing::palette ? 3 : 4;
    for_each_part<kPacking>(tile, [&](const Tile& part_tile, int part) PAGODA_INLINE_LAMBDA {
      run_passes<kTileTokens, kTileTokens <= kMaxTokensOfBothHalves ? 2 : 1, kTileTokens>(
          part_tile, [&](auto& pass) __attribute__((always_inline)) {
            using P = std::remove_reference_t<decltype(pass)>;
            for_each_bf16_pair<kPacking, 2 * sizeof(uint16_t)>(
                part_tile, part, pass, [&](__m256i w, int h, int offset) PAGODA_INLINE_LAMBDA {
                  const __m256 even = even_bf16(w);
                  const __m256 odd = odd_bf16(w);
                  PAGODA_UNROLL for (int t = 0; t < P::kTokens; ++t) {
                    const __m256i x = broadcast(pass.rows[t] + offset);
                    pass.acc[t][h] = _mm256_fmadd_ps(odd, odd_bf16(x), pass.acc[t][h]);
                    pass.acc[t][h] = _mm256_fmadd_ps(even, even_bf16(x), pass.acc[t][h]);
                  }
                });
          });
    });
  }
};

void linear(const LinearArgs& args, int64_t group_begin, int64_t group_end) noexcept {
  run_linear_of<Quantised, Plain, Bf16, Bf16Products>(args, group_begin, group_end, join_outline);
}

}  // namespace

LinearKernels linear_kernels() {
  return {quantize, linear, run_outline_of<Quantised>, pack_blocks, pack_outline, join_outline};
}

}  // namespace pagoda::isa_avx2
