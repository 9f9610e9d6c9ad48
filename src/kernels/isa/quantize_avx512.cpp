// Quantised activations with AVX-512; defined by quantize_scalar.cpp.
#include <immintrin.h>

#include <cstddef>

#include "kernels/isa/quantize_driver.h"
#include "kernels/isa/tables.h"
#include "kernels/isa/unroll.h"
#include "kernels/isa/vec_avx512.h"

namespace pagoda::isa_avx512 {

namespace {

// 16 quants as 32-bit integers.
PAGODA_INLINE __m512i quantise16(const float* x, float factor) {
  __m512 v = _mm512_mul_ps(_mm512_loadu_ps(x), _mm512_set1_ps(factor));
  v = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(v, v, _CMP_ORD_Q), v);
  v = _mm512_min_ps(_mm512_max_ps(v, _mm512_set1_ps(-127.0f)), _mm512_set1_ps(127.0f));
  return _mm512_cvt_roundps_epi32(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

// Combines the lanes of each of 16 vectors; lane i of the result is of vector i. Four times, lanes of two
// vectors that are to be combined are brought side by side.
template <class Combine>
PAGODA_INLINE __m512 combine_lanes(__m512 (&v)[16], Combine combine) {
  PAGODA_UNROLL for (int i = 0; i < 8; ++i) v[i] =
      combine(_mm512_unpacklo_ps(v[2 * i], v[2 * i + 1]), _mm512_unpackhi_ps(v[2 * i], v[2 * i + 1]));
  PAGODA_UNROLL for (int i = 0; i < 4; ++i) {
    const __m512d a = _mm512_castps_pd(v[2 * i]);
    const __m512d b = _mm512_castps_pd(v[2 * i + 1]);
    v[i] = combine(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
  }
  const auto quarters = [&](__m512 a, __m512 b) PAGODA_INLINE_LAMBDA {
    return combine(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
  };
  return quarters(quarters(v[0], v[1]), quarters(v[2], v[3]));
}
PAGODA_INLINE __m512i add_lanes(__m512i (&v)[16]) {
  __m512 sums[16];
  PAGODA_UNROLL for (int i = 0; i < 16; ++i) sums[i] = _mm512_castsi512_ps(v[i]);
  return _mm512_castps_si512(combine_lanes(sums, [](__m512 a, __m512 b) PAGODA_INLINE_LAMBDA {
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a), _mm512_castps_si512(b)));
  }));
}
// NaN of `x` does not count.
PAGODA_INLINE __m512 max_of(const float* x, __m512 max) {
  return _mm512_max_ps(_mm512_abs_ps(_mm512_loadu_ps(x)), max);
}
// Likewise, where no quant can exceed 127.
PAGODA_INLINE __m512i quantise16_in_range(const float* x, __m512 factor) {
  const __m512 v = _mm512_mul_ps(_mm512_loadu_ps(x), factor);
  return _mm512_maskz_cvt_roundps_epi32(_mm512_cmp_ps_mask(v, v, _CMP_ORD_Q), v,
                                        _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

// What follows the quants of 16 blocks. `eighths` are the sums times -8.
PAGODA_INLINE void store_members(__m512 scale, __m512 scaled_sum, __m512i eighths, Activation32* out) {
  static_assert(offsetof(Activation32, minus_16_sum) == offsetof(Activation32, scale) + 12);
  const __m512 minus_8 = _mm512_castsi512_ps(eighths);
  const __m512 minus_16 = _mm512_castsi512_ps(_mm512_slli_epi32(eighths, 1));
  alignas(64) int32_t minus_128[16];
  _mm512_store_si512(minus_128, _mm512_slli_epi32(eighths, 4));
  // Lane 4 * q + i is that of block 4 * q + i; transposed, quarter q of blocks[i] is.
  const auto low = [](__m512 a, __m512 b)
                       PAGODA_INLINE_LAMBDA { return _mm512_castps_pd(_mm512_unpacklo_ps(a, b)); };
  const auto high = [](__m512 a, __m512 b)
                        PAGODA_INLINE_LAMBDA { return _mm512_castps_pd(_mm512_unpackhi_ps(a, b)); };
  const __m512d pairs[4] = {low(scale, scaled_sum), low(minus_8, minus_16), high(scale, scaled_sum),
                            high(minus_8, minus_16)};
  const __m512d blocks[4] = {_mm512_unpacklo_pd(pairs[0], pairs[1]), _mm512_unpackhi_pd(pairs[0], pairs[1]),
                             _mm512_unpacklo_pd(pairs[2], pairs[3]), _mm512_unpackhi_pd(pairs[2], pairs[3])};
  PAGODA_UNROLL for (int i = 0; i < 4; ++i) {
    const __m512 quarters = _mm512_castpd_ps(blocks[i]);
    _mm_storeu_ps(&out[i].scale, _mm512_extractf32x4_ps(quarters, 0));
    _mm_storeu_ps(&out[4 + i].scale, _mm512_extractf32x4_ps(quarters, 1));
    _mm_storeu_ps(&out[8 + i].scale, _mm512_extractf32x4_ps(quarters, 2));
    _mm_storeu_ps(&out[12 + i].scale, _mm512_extractf32x4_ps(quarters, 3));
  }
  PAGODA_UNROLL for (int i = 0; i < 16; ++i) out[i].minus_128_sum = minus_128[i];
}

struct Body {
  static bool quantise_run(const float* x, Activation32* out) {
    __m512 maxima[16];
    PAGODA_UNROLL for (int i = 0; i < 16; ++i) maxima[i] =
        max_of(x + 32 * i + 16, max_of(x + 32 * i, _mm512_setzero_ps()));
    const __m512 max =
        combine_lanes(maxima, [](__m512 a, __m512 b) PAGODA_INLINE_LAMBDA { return _mm512_max_ps(a, b); });
    const __m512 most = _mm512_set1_ps(127.0f);
    const __mmask16 is_zero = _mm512_cmp_ps_mask(max, _mm512_setzero_ps(), _CMP_EQ_OQ);
    const __m512 factor = _mm512_maskz_div_ps(_mm512_knot(is_zero), most, max);
    if (_mm512_cmp_ps_mask(factor, _mm512_set1_ps(__builtin_inff()), _CMP_EQ_OQ) != 0) return false;
    alignas(64) float factors[16];
    _mm512_store_ps(factors, factor);
    __m512i sums[16];
    PAGODA_UNROLL for (int i = 0; i < 16; ++i) {
      // Written out, each load goes by a run, a stride that no processor foresees.
      __builtin_prefetch(x + kRunBlocks * 64 + 32 * i);
      __builtin_prefetch(x + kRunBlocks * 64 + 32 * i + 16);
      const __m512 f = _mm512_set1_ps(factors[i]);
      const __m512i low = quantise16_in_range(x + 32 * i, f);
      const __m512i high = quantise16_in_range(x + 32 * i + 16, f);
      _mm512_mask_cvtepi32_storeu_epi8(out[i].q, 0xffff, low);
      _mm512_mask_cvtepi32_storeu_epi8(out[i].q + 16, 0xffff, high);
      sums[i] = _mm512_add_epi32(low, high);
    }
    const __m512i sum = add_lanes(sums);
    const __m512 scale = _mm512_div_ps(max, most);
    const __m512i eighth = _mm512_slli_epi32(_mm512_sub_epi32(_mm512_setzero_si512(), sum), 3);
    store_members(scale, _mm512_mul_ps(scale, _mm512_cvtepi32_ps(sum)), eighth, out);
    return true;
  }
  static bool quantise_run(const float* x, Activation256* out) {
    __m512 maxima[4];
    PAGODA_UNROLL for (int i = 0; i < 4; ++i) maxima[i] = max_of(x + 16 * i, _mm512_setzero_ps());
    PAGODA_UNROLL for (int i = 4; i < 16; ++i) maxima[i % 4] = max_of(x + 16 * i, maxima[i % 4]);
    const float max = _mm512_reduce_max_ps(
        _mm512_max_ps(_mm512_max_ps(maxima[0], maxima[1]), _mm512_max_ps(maxima[2], maxima[3])));
    const float factor = quantising_factor(max);
    if (factor == __builtin_inff()) return false;
    __m512i quants[16];
    PAGODA_UNROLL for (int i = 0; i < 16; ++i) {
      quants[i] = quantise16_in_range(x + 16 * i, _mm512_set1_ps(factor));
      _mm512_mask_cvtepi32_storeu_epi8(out->runs[i / 2].q + i % 2 * 16, 0xffff, quants[i]);
    }
    const __m512i sums = add_lanes(quants);
    alignas(64) int32_t minus_32[16];
    _mm512_store_si512(minus_32, _mm512_slli_epi32(_mm512_sub_epi32(_mm512_setzero_si512(), sums), 5));
    PAGODA_UNROLL for (int i = 0; i < 8; ++i)
        __builtin_memcpy(out->runs[i].minus_32_sums16, minus_32 + 2 * i, 2 * sizeof(int32_t));
    // In the even lanes.
    const __m512i sums32 = _mm512_add_epi32(sums, _mm512_srli_epi64(sums, 32));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out->sums32), _mm512_cvtepi64_epi16(sums32));
    out->scale = max / 127.0f;
    return true;
  }
  static float max_magnitude(const float* x, int n) {
    __m512 max = _mm512_setzero_ps();
    // vmaxps gives its second operand where one is NaN.
    for (int i = 0; i < n; i += 16) max = _mm512_max_ps(_mm512_abs_ps(_mm512_loadu_ps(x + i)), max);
    return _mm512_reduce_max_ps(max);
  }
  static HalfSums quantise32(const float* x, float factor, int8_t* q) {
    const __m128i low = _mm512_cvtepi32_epi8(quantise16(x, factor));
    const __m128i high = _mm512_cvtepi32_epi8(quantise16(x + 16, factor));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(q), low);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(q + 16), high);
    const __m128i ones = _mm_set1_epi8(1);
    const __m128i fours = _mm_hadd_epi32(_mm_dpbusd_epi32(_mm_setzero_si128(), ones, low),
                                         _mm_dpbusd_epi32(_mm_setzero_si128(), ones, high));
    const __m128i sums = _mm_hadd_epi32(fours, fours);
    return {_mm_cvtsi128_si32(sums), _mm_extract_epi32(sums, 1)};
  }
  static void round_to_bf16(const float* x, int64_t n, uint16_t* out) {
    for (int64_t i = 0; i < n; i += 16) {
      const int64_t count = n - i < 16 ? n - i : 16;
      const auto mask = static_cast<__mmask16>((1u << count) - 1);
      const F32x16 rounded = F32x16::round_to_bf16({_mm512_maskz_loadu_ps(mask, x + i)});
      _mm512_mask_cvtepi32_storeu_epi16(out + i, mask, _mm512_srli_epi32(_mm512_castps_si512(rounded.v), 16));
    }
  }
};

}  // namespace

void quantize(ActivationFormat format, const float* x, int64_t num_cols, std::byte* out) noexcept {
  quantise_row<Body>(format, x, num_cols, out);
}

}  // namespace pagoda::isa_avx512
