// The body of quantised linear layers in 256-bit vectors, which AVX2 and AVX-VNNI share: they differ in how
// four products are added to a lane (`Products`). A pass takes both halves of a group, 16 rows, so that a
// broadcast activation serves two products. 16 registers hold the sums of products of 6 tokens, two unpacked
// operands, an activation and what a multiplication leaves; the sums that those are added to stay in the L1
// cache, where each is touched once for as many products as can be added before. Internal linkage, as in
// linear_layout.h.
//
// Products<kBits> has
//   kMostOperands       products of so many operands can be added
//   kMaxTokens          the tokens of a pass
//   masks_of(tokens)    where a pass of so many tokens holds its masks
//   kZeroPoint          when what cancels the weights' zero point is added
//   add(sum, w, a)      sum plus four products a lane
//   scale(int8 scales)  eight scales as scaled() wants them
//   scaled(sum, scale)  32-bit sums times scale; unscaled(sum): without
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <utility>

#include "kernels/isa/linear_driver.h"
#include "kernels/isa/linear_unpack_avx2.h"

namespace pagoda {
namespace {

// `never`: weights are multiplied as signed numbers.
enum class ZeroPoint { first, last, never };

// Of each token and half.
template <int kTokens>
struct PassSums {
  __m256 total[kTokens][2];
  __m256i scaled[kTokens][2];  // within a block of 256, or of those that are added in parts
};

template <PackedFormat kFormat, template <int> class ProductsOf, int kTokens>
struct QuantisedPass {
  static constexpr int kBits = kFormat.bits;
  using Products = ProductsOf<kFormat.operand_bits()>;
  using Rows = TokenRows<kTokens>;
  using Sums = __m256i[kTokens][2];
  static constexpr Masks kMasks = Products::masks_of(kTokens);
  static constexpr BlockLayout kAt = block_layout(kFormat);
  static constexpr ZeroPoint kZeroPoint = kFormat.zero_point == 0 ? ZeroPoint::never : Products::kZeroPoint;

  // sums = dot products of operands [kFirst, kFirst + kCount) with each token; `rows` is at the 32 k, and
  // what cancels the zero point `offset` bytes further.
  template <int kFirst, int kCount>
  PAGODA_INLINE static void dot(const uint8_t* quants, const Rows& rows, size_t offset, Sums& sums) {
    PAGODA_UNROLL for (int i = 0; i < kTokens; ++i) sums[i][0] = sums[i][1] =
        kZeroPoint == ZeroPoint::first ? broadcast(rows[i] + offset) : _mm256_setzero_si256();
    PAGODA_UNROLL for (int o = kFirst; o < kFirst + kCount; ++o) {
      const __m256i low = operand_of<kFormat, kMasks>(quants, o);
      if constexpr (kTokens > 4) forget_loads();
      const __m256i high = operand_of<kFormat, kMasks>(quants + 32, o);
      PAGODA_UNROLL for (int i = 0; i < kTokens; ++i) {
        const __m256i a = broadcast(rows[i] + 4 * o);
        sums[i][0] = Products::add(sums[i][0], low, a);
        sums[i][1] = Products::add(sums[i][1], high, a);
      }
      forget_loads();
    }
  }

  // Adds 32 k of a format that has them by themselves.
  PAGODA_INLINE static void add_block32(const uint8_t* block, const Prefetch& how, const Rows& rows,
                                        PassSums<kTokens>* sums) {
    constexpr size_t kOffset = zero_point_offset<kFormat>();
    constexpr int kCount = Products::kMostOperands < 8 ? Products::kMostOperands : 8;
    prefetch<kAt.bytes, kTokens>(block, how);
    __m256i t[kTokens][2];
    const auto add_operands = [&]<int kFirst>() PAGODA_INLINE_LAMBDA {
      dot<kFirst, kCount>(block + kAt.quants, rows, kOffset, t);
    };
    if constexpr (kCount < 8) {
      static_assert(kCount == 4 && kZeroPoint != ZeroPoint::first);
      add_operands.template operator()<0>();
      PAGODA_UNROLL for (int h = 0; h < 2; ++h) {
        PAGODA_UNROLL for (int i = 0; i < kTokens; ++i) sums->scaled[i][h] = Products::unscaled(t[i][h]);
      }
      forget_loads();
      add_operands.template operator()<4>();
    } else {
      add_operands.template operator()<0>();
    }
    PAGODA_UNROLL for (int h = 0; h < 2; ++h) {
      const __m256 d = load_f16(block + 16 * h);
      PAGODA_UNROLL for (int i = 0; i < kTokens; ++i) {
        __m256i dot = Products::unscaled(t[i][h]);
        if constexpr (kCount < 8) dot = _mm256_add_epi32(dot, sums->scaled[i][h]);
        if constexpr (kZeroPoint == ZeroPoint::last)
          dot = _mm256_add_epi32(dot, broadcast(rows[i] + kOffset));
        const __m256 s = broadcast_float(rows[i] + offsetof(Activation32, scale));
        __m256 y = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), _mm256_mul_ps(d, s), sums->total[i][h]);
        if constexpr (kFormat.has_min != 0) {
          const __m256 m = load_f16(block + kAt.dmin + 16 * h);
          y = _mm256_fmadd_ps(broadcast_float(rows[i] + offsetof(Activation32, scaled_sum)), m, y);
        }
        sums->total[i][h] = y;
      }
    }
    forget_loads();
  }

  // Adds 32 k (an Activation256::Run), which have one scale or two.
  PAGODA_INLINE static void add_run(const uint8_t* quants, const uint8_t* scales, const Prefetch& how,
                                    const Rows& rows, PassSums<kTokens>* sums) {
    constexpr int kNumScales = 32 / kFormat.sub_length;
    constexpr int kOperands = 8 / kNumScales;
    constexpr int kCount = Products::kMostOperands < kOperands ? Products::kMostOperands : kOperands;
    prefetch<64 * kBits, kTokens>(quants, how);
    const auto add_part = [&]<int kPart>() PAGODA_INLINE_LAMBDA {
      constexpr int kFirst = kPart * kCount;
      constexpr int kSub = kFirst / kOperands;
      constexpr size_t kOffset = offsetof(Activation256::Run, minus_32_sums16) + 4 * kSub;
      __m256i t[kTokens][2];
      dot<kFirst, kCount>(quants, rows, kOffset, t);
      PAGODA_UNROLL for (int h = 0; h < 2; ++h) {
        const __m128i scales8 = load64(scales + 16 * kSub + 8 * h);
        const __m256i scale = Products::scale(scales8);
        PAGODA_UNROLL for (int i = 0; i < kTokens; ++i) {
          __m256i sum = _mm256_add_epi32(sums->scaled[i][h], Products::scaled(t[i][h], scale));
          if constexpr (kZeroPoint == ZeroPoint::last && kFirst % kOperands == 0)
            sum = _mm256_add_epi32(
                sum, _mm256_mullo_epi32(_mm256_cvtepi8_epi32(scales8), broadcast(rows[i] + kOffset)));
          sums->scaled[i][h] = sum;
        }
      }
      forget_loads();
    };
    [&]<int... kPart>(std::integer_sequence<int, kPart...>) PAGODA_INLINE_LAMBDA {
      (..., add_part.template operator()<kPart>());
    }(std::make_integer_sequence<int, 8 / kCount>());
  }

  PAGODA_INLINE static void add_block256(const uint8_t* block, const Prefetch& how, const Rows& rows,
                                         PassSums<kTokens>* sums) {
    PAGODA_UNROLL for (int i = 0; i < kTokens; ++i) {
      PAGODA_UNROLL for (int h = 0; h < 2; ++h) sums->scaled[i][h] = _mm256_setzero_si256();
    }
    prefetch<kAt.quants, kTokens>(block, how);
    const uint8_t* quants = block + kAt.quants;
    const uint8_t* scales = block + kAt.scales;
    Rows run_rows = rows;
    for (int run = 0; run < 8; ++run) {
      add_run(quants, scales, how, run_rows, sums);
      quants += 64 * kBits;
      scales += 32 / kFormat.sub_length * 16;
      run_rows.advance(sizeof(Activation256::Run));
    }
    PAGODA_UNROLL for (int h = 0; h < 2; ++h) {
      const __m256 d = load_f16(block + kAt.d + 16 * h);
      const __m256 dmin = kFormat.has_min != 0 ? load_f16(block + kAt.dmin + 16 * h) : d;
      PAGODA_UNROLL for (int i = 0; i < kTokens; ++i) {
        const __m256 s = broadcast_float(rows[i] + offsetof(Activation256, scale));
        __m256 y =
            _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums->scaled[i][h]), _mm256_mul_ps(d, s), sums->total[i][h]);
        if constexpr (kFormat.has_min != 0) {
          const __m256 offset = _mm256_cvtepi32_ps(sum_mins<kFormat>(block + kAt.mins, h, rows[i]));
          y = _mm256_fnmadd_ps(offset, _mm256_mul_ps(dmin, s), y);
        }
        sums->total[i][h] = y;
      }
    }
  }

  PAGODA_INLINE static void run(const Tile& tile, int token) {
    PassSums<kTokens> memory;
    PassSums<kTokens>* sums = &memory;
    // Hides where the sums are: the compiler would take them to registers, which only few tokens leave.
    if constexpr (kTokens > 2) asm("" : "+r"(sums));
    Rows rows(tile.activations + token * tile.activation_stride, tile.activation_stride);
    PAGODA_UNROLL for (int i = 0; i < kTokens; ++i) {
      PAGODA_UNROLL for (int h = 0; h < 2; ++h) sums->total[i][h] = _mm256_setzero_ps();
    }
    const uint8_t* block = tile.group;
    for (int64_t k = 0; k < tile.num_cols; k += kFormat.block_length, block += kAt.bytes) {
      if constexpr (kFormat.block_length == 256) {
        add_block256(block, tile.prefetch, rows, sums);
        rows.advance(sizeof(Activation256));
      } else {
        add_block32(block, tile.prefetch, rows, sums);
        rows.advance(sizeof(Activation32));
      }
    }
    float out[kTokens][2][8];
    PAGODA_UNROLL for (int i = 0; i < kTokens; ++i) {
      PAGODA_UNROLL for (int h = 0; h < 2; ++h) _mm256_storeu_ps(out[i][h], sums->total[i][h]);
    }
    store(tile, token, kTokens, 0, 2, &out[0][0][0]);
  }
};

template <PackedFormat kFormat, template <int> class ProductsOf>
struct QuantisedOf {
  // Moving quants to their places takes registers, too.
  static constexpr int kMaxTokens =
      kFormat.detail_bits != 0 ? 2 : ProductsOf<kFormat.operand_bits()>::kMaxTokens;
  static constexpr int kMaxTileTokens = 2 * kMaxTokens;

  template <int kTileTokens>
  [[gnu::noinline]] static void tile(const Tile& tile) noexcept {
    constexpr int kTokens = [] {
      int tokens = kTileTokens;
      while (tokens > kMaxTokens) tokens = tokens % 2 == 0 ? tokens / 2 : 1;
      return tokens;
    }();
    for (int token = 0; token < kTileTokens; token += kTokens)
      QuantisedPass<kFormat, ProductsOf, kTokens>::run(tile, token);
  }
};

}  // namespace
}  // namespace pagoda
