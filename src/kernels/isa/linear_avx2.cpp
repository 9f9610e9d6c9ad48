// Linear layers with AVX2: vpmaddubsw multiplies unsigned weights by signed activations and adds pairs in 16
// bits. As many of these are added as cannot overflow, then one vpmaddwd widens to 32 bits and applies the
// sub-block scale. A vector is half a group, 8 rows: few tokens take both halves in one pass over the
// weights, more take two passes.
#include <immintrin.h>

#include <type_traits>

#include "kernels/isa/linear_driver.h"
#include "kernels/isa/tables.h"

namespace pagoda::isa_avx2 {

namespace {

PAGODA_INLINE __m256i load(const uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
PAGODA_INLINE __m128i load128(const uint8_t* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}
PAGODA_INLINE __m128i load64(const uint8_t* p) {
  return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
}
PAGODA_INLINE __m256i broadcast(const void* p) {
  int32_t value;
  __builtin_memcpy(&value, p, sizeof value);
  return _mm256_set1_epi32(value);
}
PAGODA_INLINE __m256 broadcast_float(const void* p) {
  return _mm256_castsi256_ps(broadcast(p));
}
PAGODA_INLINE __m256 load_f16(const uint8_t* p) {
  return _mm256_cvtph_ps(load128(p));
}

// Ends the compiler's memory of what it has loaded. Without it, it keeps packed vectors that a later operand
// needs again, too, and 16 registers do not hold them: loading them again from the L1 cache is cheap.
PAGODA_INLINE void forget_loads() {
  asm volatile("" ::: "memory");
}

PAGODA_INLINE __m256i mask_of(int byte) {
  return _mm256_set1_epi8(static_cast<char>(byte));
}
// The many masks of 5-bit weights. With several tokens they are read from memory at each use: in registers
// they would displace accumulators.
alignas(32) constexpr uint32_t kMasks5[5][8] = {
#define PAGODA_8(x) {x, x, x, x, x, x, x, x}
    PAGODA_8(0x1f1f1f1f), PAGODA_8(0x07070707), PAGODA_8(0x18181818), PAGODA_8(0x08080808),
    PAGODA_8(0x10101010)
#undef PAGODA_8
};

// (v >> shift) & mask, where mask cuts what the shift drags in from the neighbouring byte.
template <int kShift>
PAGODA_INLINE __m256i field(__m256i v, __m256i mask) {
  return _mm256_and_si256(kShift == 0 ? v : _mm256_srli_epi32(v, kShift), mask);
}
template <int kShift>
PAGODA_INLINE __m256i field_or(__m256i v, __m256i mask, __m256i rest) {
  return _mm256_or_si256(field<kShift>(v, mask), rest);
}

// Operand o of 32 k and 8 rows; the inverse of the packing in linear_layout.h. 8-bit quants become signed.
template <int kBits, int kTokens>
PAGODA_INLINE __m256i operand(const uint8_t* p, int o) {
  if constexpr (kBits == 4) {
    const __m256i v = load(p + 64 * (o / 2));
    return o % 2 == 0 ? field<0>(v, mask_of(15)) : field<4>(v, mask_of(15));
  } else if constexpr (kBits == 5) {
    const auto v = [p](int i) __attribute__((always_inline)) { return load(p + 64 * i); };
    const auto* masks = reinterpret_cast<const uint8_t*>(kMasks5);
    if constexpr (kTokens > 1) asm("" : "+r"(masks));  // hides that they are constants
    const auto mask = [masks](int i) __attribute__((always_inline)) { return load(masks + 32 * i); };
    if (o < 5) return field<0>(v(o), mask(0));
    if (o == 5) return field_or<3>(v(1), mask(2), field<5>(v(0), mask(1)));
    if (o == 6) return field_or<3>(v(3), mask(2), field<5>(v(2), mask(1)));
    return field_or<1>(v(3), mask(4), field_or<2>(v(1), mask(3), field<5>(v(4), mask(1))));
  } else if constexpr (kBits == 6) {
    const uint8_t* half = p + 192 * (o / 4);
    if (o % 4 < 3) return field<0>(load(half + 64 * (o % 4)), mask_of(63));
    return field_or<2>(load(half + 128), mask_of(0x30),
                       field_or<4>(load(half + 64), mask_of(0x0c), field<6>(load(half), mask_of(3))));
  } else {
    return _mm256_xor_si256(load(p + 64 * o), _mm256_set1_epi8(static_cast<char>(0x80)));
  }
}

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
      const __m256i w = operand<kBits, kTokens>(quants, o);
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

template <PackedFormat kFormat>
constexpr int zero_point_offset() {
  return kFormat.zero_point == 8 ? offsetof(Activation32, minus_8_sum) : offsetof(Activation32, minus_16_sum);
}

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

// Sum over the sub-blocks of min * (sum of activations), for 8 rows and one token.
template <PackedFormat kFormat>
PAGODA_INLINE __m256i sum_mins(const uint8_t* mins, int half, const std::byte* a) {
  __m256i sum = _mm256_setzero_si256();
  if constexpr (kFormat.sub_length == 32) {
    PAGODA_UNROLL for (int pair = 0; pair < 4; ++pair) {
      const __m256i min = _mm256_cvtepu8_epi16(load128(mins + 32 * pair + 16 * half));
      sum = _mm256_add_epi32(
          sum, _mm256_madd_epi16(min, broadcast(a + offsetof(Activation256, sums32) + 4 * pair)));
    }
    return sum;
  } else {
    for (int j = 0; j < 16; ++j) {
      const __m256i min = _mm256_cvtepu8_epi32(load64(mins + 16 * j + 8 * half));
      const std::byte* run = a + j / 2 * sizeof(Activation256::Run);
      const __m256i correction = broadcast(run + offsetof(Activation256::Run, minus_32_sums16) + j % 2 * 4);
      sum = _mm256_sub_epi32(sum, _mm256_mullo_epi32(min, correction));
    }
    return _mm256_srai_epi32(sum, 5);
  }
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

// Lanes of a half that are rows of the matrix.
PAGODA_INLINE __m256i valid_lanes(const Tile& tile, int half) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(tile.num_rows - 8 * half),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

// Stores sums[token][half][8], not inline: its branches amid the loops of a tile would cost these their
// registers.
[[gnu::noinline]] void store(const Tile& tile, int first_token, int num_tokens, int first_half,
                             int num_halves, const float* sums) {
  for (int t = 0; t < num_tokens; ++t) {
    for (int h = 0; h < num_halves; ++h, sums += 8) {
      const int half = first_half + h;
      const __m256i mask = valid_lanes(tile, half);
      float* out = tile.out + (first_token + t) * tile.out_stride + 8 * half;
      __m256 y = _mm256_loadu_ps(sums);
      if (tile.bias != nullptr) y = _mm256_add_ps(y, _mm256_maskload_ps(tile.bias + 8 * half, mask));
      if (tile.store == Store::add) y = _mm256_add_ps(_mm256_maskload_ps(out, mask), y);
      _mm256_maskstore_ps(out, mask, y);
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

template <class P>
PAGODA_INLINE void add_bf16(const Tile& tile, P& pass) {
  constexpr int kNext = sizeof(float);
  const uint8_t* pairs = tile.group + 32 * pass.first_half;
  for (int64_t k = 0; k < tile.num_cols; k += 2, pairs += 64) {
    prefetch<1, P::kTokens>(pairs, pass.ahead);
    PAGODA_UNROLL for (int h = 0; h < P::kHalves; ++h) {
      const __m256i w = load(pairs + 32 * h);
      multiply_add(even_bf16(w), 0, h, pass);
      forget_loads();
      multiply_add(odd_bf16(w), kNext, h, pass);
      forget_loads();
    }
    pass.rows.advance(2 * kNext);
  }
}

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
        tile, [&](auto& pass) __attribute__((always_inline)) {
          if constexpr (kType == DType::bf16)
            add_bf16(tile, pass);
          else
            add_plain<kType>(tile, pass);
        });
  }
};

// bf16 weights times bf16 activations.
struct Bf16Products {
  static constexpr int kMaxTileTokens = 8;

  template <int kTileTokens>
  [[gnu::noinline]] static void tile(const Tile& tile) noexcept {
    run_passes<kTileTokens, kTileTokens <= 4 ? 2 : 1, kTileTokens>(
        tile, [&](auto& pass) __attribute__((always_inline)) {
          using P = std::remove_reference_t<decltype(pass)>;
          const uint8_t* pairs = tile.group + 32 * pass.first_half;
          for (int64_t k = 0; k < tile.num_cols; k += 2, pairs += 64) {
            prefetch<1, P::kTokens>(pairs, pass.ahead);
            PAGODA_UNROLL for (int h = 0; h < P::kHalves; ++h) {
              const __m256i w = load(pairs + 32 * h);
              const __m256 even = even_bf16(w);
              const __m256 odd = odd_bf16(w);
              PAGODA_UNROLL for (int t = 0; t < P::kTokens; ++t) {
                const __m256i x = broadcast(pass.rows[t]);
                pass.acc[t][h] = _mm256_fmadd_ps(odd, odd_bf16(x), pass.acc[t][h]);
                pass.acc[t][h] = _mm256_fmadd_ps(even, even_bf16(x), pass.acc[t][h]);
              }
              forget_loads();
            }
            pass.rows.advance(2 * sizeof(uint16_t));
          }
        });
  }
};

}  // namespace

LinearKernels linear_kernels() {
  return {quantize, run_linear_of<Quantised, Plain, Bf16Products>};
}

}  // namespace pagoda::isa_avx2
