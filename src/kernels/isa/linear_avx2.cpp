// Linear layers with AVX2: vpmaddubsw multiplies unsigned weights by signed activations and adds pairs in 16
// bits. As many of these are added as cannot overflow, then one vpmaddwd widens to 32 bits and applies the
// sub-block scale. A vector is half a group, 8 rows: few tokens take both halves in one pass over the
// weights, more take two passes.
#include <immintrin.h>

#include <type_traits>
#include <utility>

#include "kernels/isa/linear_driver.h"
#include "kernels/isa/linear_unpack_avx2.h"
#include "kernels/isa/tables.h"

namespace pagoda::isa_avx2 {

namespace {

// The order in which operands are used, such that few loaded vectors are needed at a time.
template <int kBits>
constexpr int operand_at(int i) {
  constexpr int kOrder5[8] = {0, 5, 1, 7, 4, 3, 6, 2};
  return kBits == 5 ? kOrder5[i] : i;
}

// How many products of vpmaddubsw fit into 16 bits when added: 2 * (2^bits - 1) * 127 each.
template <int kBits>
inline constexpr int kSummable = kBits == 4   ? 8
                                 : kBits == 5 ? 4
                                 : kBits == 6 ? 2
                                              : 1;

// Four products each: 16-bit pairs. Signed 8-bit weights would saturate as they are: their magnitudes are the
// unsigned operand, their signs move to the activations (|-128| is 128 as an unsigned byte, and activations
// are never -128).
template <int kBits>
PAGODA_INLINE __m256i multiply(__m256i w, __m256i a) {
  if constexpr (kBits == 8) return _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(a, w));
  return _mm256_maddubs_epi16(w, a);
}

// sums[t][kHalf] += factor (16-bit pairs) * dot product of the operands in places [kFirst, kFirst + kCount)
// of the order with the activations of token t. One half at a time: the sums of both and the words of one
// fill 16 registers.
template <int kBits, int kFirst, int kCount, int kTokens, int kHalves>
PAGODA_INLINE void add_products(const uint8_t* quants, const TokenRows<kTokens>& rows, __m256i factor,
                                int half, __m256i (&sums)[kTokens][kHalves]) {
  constexpr int kGroup = kSummable<kBits> < kCount ? kSummable<kBits> : kCount;
  PAGODA_UNROLL for (int first = kFirst; first < kFirst + kCount; first += kGroup) {
    __m256i words[kTokens];
    PAGODA_UNROLL for (int i = 0; i < kGroup; ++i) {
      const int o = operand_at<kBits>(first + i);
      const __m256i stored = operand<kBits, kTokens>(quants, o);
      const __m256i w = kBits == 8 ? _mm256_xor_si256(stored, mask_of(0x80)) : stored;
      PAGODA_UNROLL for (int t = 0; t < kTokens; ++t) {
        const __m256i product = multiply<kBits>(w, broadcast(rows[t] + 4 * o));
        words[t] = i == 0 ? product : _mm256_add_epi16(words[t], product);
      }
      forget_loads();
    }
    PAGODA_UNROLL for (int t = 0; t < kTokens; ++t) sums[t][half] =
        _mm256_add_epi32(sums[t][half], _mm256_madd_epi16(words[t], factor));
  }
}

// Eight int8 scales, each twice as a 16-bit pair.
PAGODA_INLINE __m256i scale_pairs(__m256i scales) {
  const __m256i twice = _mm256_setr_epi8(0, 1, 0, 1, 4, 5, 4, 5, 8, 9, 8, 9, 12, 13, 12, 13,  //
                                         0, 1, 0, 1, 4, 5, 4, 5, 8, 9, 8, 9, 12, 13, 12, 13);
  return _mm256_shuffle_epi8(scales, twice);
}

// Which halves of a group, and how many tokens, one pass over the weights computes.
template <int kTokensInPass, int kHalvesInPass>
struct Pass {
  static constexpr int kTokens = kTokensInPass;
  static constexpr int kHalves = kHalvesInPass;
  TokenRows<kTokens> rows;
  int first_half;
  int64_t ahead;
  __m256 acc[kTokens][kHalves];
};

template <PackedFormat kFormat, class P>
PAGODA_INLINE void add_block32(const uint8_t* block, P& pass) {
  constexpr BlockLayout kAt = block_layout(kFormat);
  prefetch<kAt.bytes, P::kTokens>(block, pass.ahead);
  PAGODA_UNROLL for (int h = 0; h < P::kHalves; ++h) {
    const int half = pass.first_half + h;
    __m256i sums[P::kTokens][1];
    PAGODA_UNROLL for (int t = 0; t < P::kTokens; ++t) sums[t][0] = _mm256_setzero_si256();
    add_products<kFormat.bits, 0, 8>(block + kAt.quants + 32 * half, pass.rows, _mm256_set1_epi16(1), 0,
                                     sums);
    PAGODA_UNROLL for (int t = 0; t < P::kTokens; ++t) {
      const __m256 d = load_f16(block + 16 * half);
      const __m256 s = broadcast_float(pass.rows[t] + offsetof(Activation32, scale));
      if constexpr (kFormat.zero_point != 0 && kFormat.bits != 8)
        sums[t][0] = _mm256_add_epi32(sums[t][0], broadcast(pass.rows[t] + zero_point_offset<kFormat>()));
      __m256& acc = pass.acc[t][h];
      acc = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[t][0]), _mm256_mul_ps(d, s), acc);
      if constexpr (kFormat.has_min != 0) {
        const __m256 m = load_f16(block + kAt.dmin + 16 * half);
        acc = _mm256_fmadd_ps(broadcast_float(pass.rows[t] + offsetof(Activation32, scaled_sum)), m, acc);
      }
    }
    forget_loads();
  }
}

// Adds 32 k (an Activation256::Run), which have one scale or two.
template <PackedFormat kFormat, int kTokens, int kHalves>
PAGODA_INLINE void add_run(const uint8_t* quants, const uint8_t* scales, int64_t ahead,
                           const TokenRows<kTokens>& rows, __m256i (&sums)[kTokens][kHalves]) {
  constexpr int kNumScales = 32 / kFormat.sub_length;
  constexpr int kOperands = 8 / kNumScales;
  prefetch<64 * kFormat.bits + 40, kTokens>(quants, ahead);
  const auto add_sub_block = [&]<int kFirst>() __attribute__((always_inline)) {
    constexpr int kSub = kFirst / kOperands;
    PAGODA_UNROLL for (int h = 0; h < kHalves; ++h) {
      const __m256i scale = _mm256_cvtepi8_epi32(load64(scales + 16 * kSub + 8 * h));
      if constexpr (kFormat.zero_point != 0) {
        PAGODA_UNROLL for (int t = 0; t < kTokens; ++t) {
          const __m256i start = broadcast(rows[t] + offsetof(Activation256::Run, minus_32_sums16) + 4 * kSub);
          sums[t][h] = _mm256_add_epi32(sums[t][h], _mm256_mullo_epi32(scale, start));
        }
      }
      add_products<kFormat.bits, kFirst, kOperands>(quants + 32 * h, rows, scale_pairs(scale), h, sums);
    }
  };
  add_sub_block.template operator()<0>();
  if constexpr (kNumScales == 2) add_sub_block.template operator()<4>();
}

template <PackedFormat kFormat, class P>
PAGODA_INLINE void add_block256(const uint8_t* block, P& pass) {
  constexpr BlockLayout kAt = block_layout(kFormat);
  __m256i sums[P::kTokens][P::kHalves];
  PAGODA_UNROLL for (int t = 0; t < P::kTokens; ++t) {
    PAGODA_UNROLL for (int h = 0; h < P::kHalves; ++h) sums[t][h] = _mm256_setzero_si256();
  }
  const uint8_t* quants = block + kAt.quants + 32 * pass.first_half;
  const uint8_t* scales = block + kAt.scales + 8 * pass.first_half;
  TokenRows<P::kTokens> rows = pass.rows;
  for (int run = 0; run < 8; ++run) {
    add_run<kFormat>(quants, scales, pass.ahead, rows, sums);
    quants += 64 * kFormat.bits;
    scales += 32 / kFormat.sub_length * 16;
    rows.advance(sizeof(Activation256::Run));
  }
  PAGODA_UNROLL for (int h = 0; h < P::kHalves; ++h) {
    const int half = pass.first_half + h;
    const __m256 d = load_f16(block + kAt.d + 16 * half);
    const __m256 dmin = kFormat.has_min != 0 ? load_f16(block + kAt.dmin + 16 * half) : d;
    PAGODA_UNROLL for (int t = 0; t < P::kTokens; ++t) {
      const __m256 s = broadcast_float(pass.rows[t] + offsetof(Activation256, scale));
      __m256& acc = pass.acc[t][h];
      acc = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[t][h]), _mm256_mul_ps(d, s), acc);
      if constexpr (kFormat.has_min != 0) {
        const __m256 offset = _mm256_cvtepi32_ps(sum_mins<kFormat>(block + kAt.mins, half, pass.rows[t]));
        acc = _mm256_fnmadd_ps(offset, _mm256_mul_ps(dmin, s), acc);
      }
    }
  }
}

// Runs `accumulate(pass)` for all tokens and both halves of a tile.
template <int kTokens, int kHalves, int kTileTokens, class Accumulate>
PAGODA_INLINE void run_passes(const Tile& tile, Accumulate accumulate) {
  static_assert(kTileTokens % kTokens == 0);
  for (int token = 0; token < kTileTokens; token += kTokens) {
    for (int half = 0; half < 2; half += kHalves) {
      Pass<kTokens, kHalves> pass = {
          TokenRows<kTokens>(tile.activations + token * tile.activation_stride, tile.activation_stride),
          half,
          tile.prefetch_bytes,
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

template <PackedFormat kFormat>
struct Quantised {
  static constexpr int kMaxTileTokens = 8;

  template <int kTileTokens>
  [[gnu::noinline]] static void tile(const Tile& tile) noexcept {
    constexpr int kTokens = kTileTokens <= 4 ? kTileTokens : kTileTokens / 2;
    run_passes<kTokens, kTokens <= 2 ? 2 : 1, kTileTokens>(
        tile, [&](auto& pass) __attribute__((always_inline)) {
          const uint8_t* block = tile.group;
          for (int64_t k = 0; k < tile.num_cols;
               k += kFormat.block_length, block += block_layout(kFormat).bytes) {
            if constexpr (kFormat.block_length == 256) {
              add_block256<kFormat>(block, pass);
              pass.rows.advance(sizeof(Activation256));
            } else {
              add_block32<kFormat>(block, pass);
              pass.rows.advance(sizeof(Activation32));
            }
          }
        });
  }
};

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

// Eight rows of a vector of bf16 weights, from shifted codes and rotated lanes. Exponents are bytes: places 0
// to 15 are looked up in the first half of the palette, others in the second.
PAGODA_INLINE __m256i join_bf16(__m256i codes, __m256i lanes, const uint8_t* palette) {
  const __m256i places = _mm256_and_si256(codes, _mm256_set1_epi16(kPaletteSize - 1));
  const __m256i low = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(load128(palette)), places);
  const __m256i high = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(load128(palette + 16)), places);
  // The bit that is 16 moves to where the blend looks. The upper byte of a word is of no use; one bit of it
  // is shifted to the sign.
  const __m256i exponents =
      _mm256_slli_epi16(_mm256_blendv_epi8(low, high, _mm256_slli_epi16(places, 3)), kExponentShift);
  const __m256i rest = _mm256_set1_epi32(static_cast<int>(kSignsAndMantissas));
  return _mm256_or_si256(_mm256_and_si256(rest, lanes), _mm256_andnot_si256(rest, exponents));
}

// Bytes of 32-bit lanes as they are, and rotated as those of the second pair of two.
alignas(32) constexpr uint8_t kLaneBytes[2][32] = {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
                                                    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
                                                   {3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14,
                                                    3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14}};
static_assert(kPairRotation == 8);

// One half of vector kVector of a run.
template <Packing kPacking, int kVector>
PAGODA_INLINE __m256i bf16_pairs(const uint8_t* palette, const uint8_t* run, int half) {
  if constexpr (kPacking == Packing::plain) return load(run + 32 * half);
  const __m256i codes = load(run + bf16_layout(kPacking).codes + 64 * (kVector / kCodesPerWord) + 32 * half);
  const __m256i lanes = load(run + 64 * (kVector / 2) + 32 * half);
  return join_bf16(_mm256_srli_epi16(codes, kCodeBits * (kVector % kCodesPerWord)),
                   kVector % 2 == 0 ? lanes : _mm256_shuffle_epi8(lanes, load(kLaneBytes[1])), palette);
}
// One half of vector i of a palette's run.
PAGODA_INLINE __m256i palette_pairs(const uint8_t* palette, const uint8_t* run, int64_t i, int half) {
  const __m256i codes =
      load(run + bf16_layout(Packing::palette).codes + 64 * (i / kCodesPerWord) + 32 * half);
  const __m256i lanes = load(run + 64 * (i / 2) + 32 * half);
  const __m128i shift = _mm_cvtsi64_si128(kCodeBits * (i % kCodesPerWord));
  return join_bf16(_mm256_srl_epi16(codes, shift), _mm256_shuffle_epi8(lanes, load(kLaneBytes[i % 2])),
                   palette);
}

// Calls use(w, h, offset) for all pairs of k, ascending, and the pass's halves. `pass.rows` moves along,
// kPairBytes a pair: the pair's bytes are `offset` from where it is then.
template <Packing kPacking, int kPairBytes, class P, class Use>
PAGODA_INLINE void for_each_bf16_pair(const Tile& tile, P& pass, Use use) {
  static constexpr Bf16Layout kLayout = bf16_layout(kPacking);
  const uint8_t* run = tile.group + kLayout.header_bytes;
  const auto use_vector = [&]<int kVector>() PAGODA_INLINE_LAMBDA {
    if constexpr (64 * kVector < kLayout.run_bytes)
      prefetch_pairs<kPacking, P::kTokens>(run + 64 * kVector, tile);
    PAGODA_UNROLL for (int h = 0; h < P::kHalves; ++h) {
      use(bf16_pairs<kPacking, kVector>(tile.group, run, pass.first_half + h), h, kPairBytes * kVector);
      forget_loads();
    }
  };
  int64_t left = (tile.num_cols + 1) / 2;
  for (; left >= kLayout.run_vectors; left -= kLayout.run_vectors, run += kLayout.run_bytes) {
    [&]<int... kVector>(std::integer_sequence<int, kVector...>) PAGODA_INLINE_LAMBDA {
      (..., use_vector.template operator()<kVector>());
    }(std::make_integer_sequence<int, kLayout.run_vectors>());
    pass.rows.advance(kPairBytes * kLayout.run_vectors);
  }
  // The last run may have fewer.
  if constexpr (kPacking == Packing::palette) {
    for (int64_t i = 0; i < left; ++i) {
      PAGODA_UNROLL for (int h = 0; h < P::kHalves; ++h) {
        use(palette_pairs(tile.group, run, i, pass.first_half + h), h, 0);
        forget_loads();
      }
      pass.rows.advance(kPairBytes);
    }
  }
}

struct PaletteUnpacker {
  struct Place {
    uint8_t* at;
    PAGODA_INLINE void advance(int64_t bytes) { at += bytes; }
  };
  // What for_each_bf16_pair() wants of a pass.
  struct Pass {
    static constexpr int kTokens = 1;
    static constexpr int kHalves = 2;
    Place rows;
    int first_half;
  };
  // Writes a group of a palette as plain packing has it.
  [[gnu::noinline]] static void unpack_palette(const uint8_t* group, int64_t num_cols,
                                               uint8_t* out) noexcept {
    const Tile tile = {.group = group, .num_cols = num_cols, .prefetch_bytes = kPrefetchBytes};
    Pass pass = {{out}, 0};
    for_each_bf16_pair<Packing::palette, 64>(
        tile, pass, [&](__m256i w, int h, int offset) PAGODA_INLINE_LAMBDA {
          _mm256_storeu_si256(reinterpret_cast<__m256i*>(pass.rows.at + offset + 32 * h), w);
        });
  }
};

template <DType kType, class P>
PAGODA_INLINE void add_plain(const Tile& tile, P& pass) {
  constexpr int kBytesPerColumn = kType == DType::f32 ? 64 : 32;
  const uint8_t* column = tile.group + kBytesPerColumn / 2 * pass.first_half;
  for (int64_t k = 0; k < tile.num_cols; ++k, column += kBytesPerColumn) {
    prefetch<1, P::kTokens>(column, pass.ahead);
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
    run_passes<kTokens, kTokens <= 4 ? 2 : 1, kTileTokens>(
        tile, [&](auto& pass) __attribute__((always_inline)) {
          for_each_bf16_pair<kPacking, 2 * kNext>(tile, pass,
                                                  [&](__m256i w, int h, int offset) PAGODA_INLINE_LAMBDA {
                                                    multiply_add(even_bf16(w), offset, h, pass);
                                                    forget_loads();
                                                    multiply_add(odd_bf16(w), offset + kNext, h, pass);
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
    run_passes<kTileTokens, kTileTokens <= kMaxTokensOfBothHalves ? 2 : 1, kTileTokens>(
        tile, [&](auto& pass) __attribute__((always_inline)) {
          using P = std::remove_reference_t<decltype(pass)>;
          for_each_bf16_pair<kPacking, 2 * sizeof(uint16_t)>(
              tile, pass, [&](__m256i w, int h, int offset) PAGODA_INLINE_LAMBDA {
                const __m256 even = even_bf16(w);
                const __m256 odd = odd_bf16(w);
                PAGODA_UNROLL for (int t = 0; t < P::kTokens; ++t) {
                  const __m256i x = broadcast(pass.rows[t] + offset);
                  pass.acc[t][h] = _mm256_fmadd_ps(odd, odd_bf16(x), pass.acc[t][h]);
                  pass.acc[t][h] = _mm256_fmadd_ps(even, even_bf16(x), pass.acc[t][h]);
                }
              });
        });
  }
};

}  // namespace

LinearKernels linear_kernels() {
  return {quantize, run_linear_of<Quantised, Plain, Bf16, Bf16Products>, pack_blocks};
}

}  // namespace pagoda::isa_avx2
