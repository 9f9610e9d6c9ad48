// Quantised activations with AVX-512; defined by quantize_scalar.cpp.
#include <immintrin.h>

#include "kernels/isa/quantize_driver.h"
#include "kernels/isa/tables.h"
#include "kernels/isa/vec_avx512.h"

namespace pagoda::isa_avx512 {

namespace {

// 16 quants as 32-bit integers.
[[gnu::always_inline]] inline __m512i quantise16(const float* x, float factor) {
  __m512 v = _mm512_mul_ps(_mm512_loadu_ps(x), _mm512_set1_ps(factor));
  v = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(v, v, _CMP_ORD_Q), v);
  v = _mm512_min_ps(_mm512_max_ps(v, _mm512_set1_ps(-127.0f)), _mm512_set1_ps(127.0f));
  return _mm512_cvt_roundps_epi32(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

struct Body {
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
