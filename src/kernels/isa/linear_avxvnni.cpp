// Linear layers with AVX-VNNI: vpdpbusd multiplies unsigned weights by signed activations and adds four
// products to a 32-bit sum, in 256-bit vectors. A pass takes both halves of a group, 16 rows, so that a
// broadcast activation serves two products. 16 registers hold the dot products of 6 tokens, two unpacked
// operands and one activation; the sums that a dot product is added to stay in the L1 cache, where each is
// touched once for its 16 or 32 products.
#include <immintrin.h>

#include "kernels/isa/linear_driver.h"
#include "kernels/isa/linear_unpack_avx2.h"
#include "kernels/isa/tables.h"

namespace pagoda::isa_avxvnni {

namespace {

template <int kTokens>
struct PassSums {
  alignas(32) float total[kTokens][2][8];     // of each token and row
  alignas(32) int32_t scaled[kTokens][2][8];  // within a block of 256
};

PAGODA_INLINE __m256i load_sum(const int32_t* p) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
}
PAGODA_INLINE void store_sum(int32_t* p, __m256i value) {
  _mm256_store_si256(reinterpret_cast<__m256i*>(p), value);
}

// Whether unpacking an operand takes so many masks that those of one half must be forgotten before the other
// half's turn, where the dot products of many tokens leave few registers.
template <int kBits, int kTokens>
constexpr bool needs_many_masks(int operand) {
  return kTokens > 4 && (kBits == 5 || (kBits == 6 && operand % 4 == 3));
}

// t[i] += dot products of operands [kFirst, kFirst + kCount) with token i; `rows` is at the 32 k.
template <int kBits, int kFirst, int kCount, int kTokens>
PAGODA_INLINE void dot(const uint8_t* quants, const TokenRows<kTokens>& rows, __m256i (&t)[kTokens][2]) {
  PAGODA_UNROLL for (int o = kFirst; o < kFirst + kCount; ++o) {
    const __m256i low = operand<kBits, kTokens>(quants, o);
    if (needs_many_masks<kBits, kTokens>(o)) forget_loads();
    const __m256i high = operand<kBits, kTokens>(quants + 32, o);
    PAGODA_UNROLL for (int i = 0; i < kTokens; ++i) {
      const __m256i a = broadcast(rows[i] + 4 * o);
      t[i][0] = _mm256_dpbusd_avx_epi32(t[i][0], low, a);
      t[i][1] = _mm256_dpbusd_avx_epi32(t[i][1], high, a);
    }
    forget_loads();
  }
}

// Dot products start at what cancels the weights' zero point, `offset` bytes from the token's activations.
template <int kTokens>
PAGODA_INLINE void start(const TokenRows<kTokens>& rows, int zero_point, size_t offset,
                         __m256i (&t)[kTokens][2]) {
  PAGODA_UNROLL for (int i = 0; i < kTokens; ++i) t[i][0] = t[i][1] =
      zero_point == 0 ? _mm256_setzero_si256() : broadcast(rows[i] + offset);
}

template <PackedFormat kFormat, int kTokens>
PAGODA_INLINE void add_block32(const uint8_t* block, int64_t ahead, const TokenRows<kTokens>& rows,
                               PassSums<kTokens>* sums) {
  constexpr BlockLayout kAt = block_layout(kFormat);
  prefetch<kAt.bytes, kTokens>(block, ahead);
  __m256i t[kTokens][2];
  start(rows, kFormat.zero_point, zero_point_offset<kFormat>(), t);
  dot<kFormat.bits, 0, 8>(block + kAt.quants, rows, t);
  PAGODA_UNROLL for (int h = 0; h < 2; ++h) {
    const __m256 d = load_f16(block + 16 * h);
    PAGODA_UNROLL for (int i = 0; i < kTokens; ++i) {
      const __m256 s = broadcast_float(rows[i] + offsetof(Activation32, scale));
      __m256 y = _mm256_fmadd_ps(_mm256_cvtepi32_ps(t[i][h]), _mm256_mul_ps(d, s),
                                 _mm256_load_ps(sums->total[i][h]));
      if constexpr (kFormat.has_min != 0) {
        const __m256 m = load_f16(block + kAt.dmin + 16 * h);
        y = _mm256_fmadd_ps(broadcast_float(rows[i] + offsetof(Activation32, scaled_sum)), m, y);
      }
      _mm256_store_ps(sums->total[i][h], y);
    }
  }
  forget_loads();
}

// Adds 32 k (an Activation256::Run), which have one scale or two.
template <PackedFormat kFormat, int kTokens>
PAGODA_INLINE void add_run(const uint8_t* quants, const uint8_t* scales, int64_t ahead,
                           const TokenRows<kTokens>& rows, PassSums<kTokens>* sums) {
  constexpr int kNumScales = 32 / kFormat.sub_length;
  constexpr int kOperands = 8 / kNumScales;
  prefetch<64 * kFormat.bits + 40, kTokens>(quants, ahead);
  const auto add_sub_block = [&]<int kSub>() __attribute__((always_inline)) {
    __m256i t[kTokens][2];
    start(rows, kFormat.zero_point, offsetof(Activation256::Run, minus_32_sums16) + 4 * kSub, t);
    dot<kFormat.bits, kSub * kOperands, kOperands>(quants, rows, t);
    PAGODA_UNROLL for (int h = 0; h < 2; ++h) {
      const __m256i scale = _mm256_cvtepi8_epi32(load64(scales + 16 * kSub + 8 * h));
      PAGODA_UNROLL for (int i = 0; i < kTokens; ++i)
          store_sum(sums->scaled[i][h],
                    _mm256_add_epi32(load_sum(sums->scaled[i][h]), _mm256_mullo_epi32(t[i][h], scale)));
    }
    forget_loads();
  };
  add_sub_block.template operator()<0>();
  if constexpr (kNumScales == 2) add_sub_block.template operator()<1>();
}

template <PackedFormat kFormat, int kTokens>
PAGODA_INLINE void add_block256(const uint8_t* block, int64_t ahead, const TokenRows<kTokens>& rows,
                                PassSums<kTokens>* sums) {
  constexpr BlockLayout kAt = block_layout(kFormat);
  PAGODA_UNROLL for (int i = 0; i < kTokens; ++i) {
    PAGODA_UNROLL for (int h = 0; h < 2; ++h) store_sum(sums->scaled[i][h], _mm256_setzero_si256());
  }
  const uint8_t* quants = block + kAt.quants;
  const uint8_t* scales = block + kAt.scales;
  TokenRows<kTokens> run_rows = rows;
  for (int run = 0; run < 8; ++run) {
    add_run<kFormat>(quants, scales, ahead, run_rows, sums);
    quants += 64 * kFormat.bits;
    scales += 32 / kFormat.sub_length * 16;
    run_rows.advance(sizeof(Activation256::Run));
  }
  PAGODA_UNROLL for (int h = 0; h < 2; ++h) {
    const __m256 d = load_f16(block + kAt.d + 16 * h);
    const __m256 dmin = kFormat.has_min != 0 ? load_f16(block + kAt.dmin + 16 * h) : d;
    PAGODA_UNROLL for (int i = 0; i < kTokens; ++i) {
      const __m256 s = broadcast_float(rows[i] + offsetof(Activation256, scale));
      __m256 y = _mm256_fmadd_ps(_mm256_cvtepi32_ps(load_sum(sums->scaled[i][h])), _mm256_mul_ps(d, s),
                                 _mm256_load_ps(sums->total[i][h]));
      if constexpr (kFormat.has_min != 0) {
        const __m256 offset = _mm256_cvtepi32_ps(sum_mins<kFormat>(block + kAt.mins, h, rows[i]));
        y = _mm256_fnmadd_ps(offset, _mm256_mul_ps(dmin, s), y);
      }
      _mm256_store_ps(sums->total[i][h], y);
    }
  }
}

template <PackedFormat kFormat>
struct Quantised {
  // The tokens of a pass. With two scales and the minimum of 32 k there is no register for more.
  static constexpr int kMaxTokens = kFormat.bits == 4 && kFormat.sub_length == 16 ? 4 : 6;
  static constexpr int kMaxTileTokens = 2 * kMaxTokens;

  template <int kTileTokens>
  [[gnu::noinline]] static void tile(const Tile& tile) noexcept {
    constexpr int kTokens = kTileTokens <= kMaxTokens ? kTileTokens : kTileTokens / 2;
    for (int token = 0; token < kTileTokens; token += kTokens) {
      PassSums<kTokens> memory;
      PassSums<kTokens>* sums = &memory;
      // Hides where the sums are: the compiler would take them to registers that there are not.
      asm("" : "+r"(sums));
      TokenRows<kTokens> rows(tile.activations + token * tile.activation_stride, tile.activation_stride);
      PAGODA_UNROLL for (int i = 0; i < kTokens; ++i) {
        PAGODA_UNROLL for (int h = 0; h < 2; ++h) _mm256_store_ps(sums->total[i][h], _mm256_setzero_ps());
      }
      const uint8_t* block = tile.group;
      for (int64_t k = 0; k < tile.num_cols;
           k += kFormat.block_length, block += block_layout(kFormat).bytes) {
        if constexpr (kFormat.block_length == 256) {
          add_block256<kFormat>(block, tile.prefetch_bytes, rows, sums);
          rows.advance(sizeof(Activation256));
        } else {
          add_block32<kFormat>(block, tile.prefetch_bytes, rows, sums);
          rows.advance(sizeof(Activation32));
        }
      }
      store(tile, token, kTokens, 0, 2, &sums->total[0][0][0]);
    }
  }
};

void linear(const LinearArgs& args, int64_t group_begin, int64_t group_end) noexcept {
  switch (args.weight.dtype) {
    case DType::f32:
    case DType::f16:
    case DType::bf16:
      return isa_avx2::linear_kernels().linear(args, group_begin, group_end);
    default:  // all others are quantised
      return run_quantised_of<Quantised>(args, group_begin, group_end);
  }
}

}  // namespace

LinearKernels linear_kernels() {
  return {isa_avx2::quantize, linear, isa_avx2::pack_blocks};
}

}  // namespace pagoda::isa_avxvnni
