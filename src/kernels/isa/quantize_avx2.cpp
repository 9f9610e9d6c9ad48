// Quantised activations with AVX2; defined by quantize_scalar.cpp.
#include <immintrin.h>

#include "kernels/isa/quantize_driver.h"
#include "kernels/isa/tables.h"
#include "kernels/isa/vec_avx2.h"

namespace pagoda::isa_avx2 {

namespace {

// 8 quants as 32-bit integers.
[[gnu::always_inline]] inline __m256i quantise8(const float* x, float factor) {
  __m256 v = _mm256_mul_ps(_mm256_loadu_ps(x), _mm256_set1_ps(factor));
  v = _mm256_and_ps(v, _mm256_cmp_ps(v, v, _CMP_ORD_Q));
  v = _mm256_min_ps(_mm256_max_ps(v, _mm256_set1_ps(-127.0f)), _mm256_set1_ps(127.0f));
  return _mm256_cvtps_epi32(_mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

// 16 quants as bytes, and their sum.
[[gnu::always_inline]] inline int quantise16(const float* x, float factor, int8_t* q) {
  const __m256i words = _mm256_packs_epi32(quantise8(x, factor), quantise8(x + 8, factor));
  // The pack works within 128-bit halves: quarters 0 and 2 hold the first 8 quants.
  const __m256i ordered = _mm256_permute4x64_epi64(words, 0xd8);
  const __m128i low = _mm256_castsi256_si128(ordered);
  const __m128i high = _mm256_extracti128_si256(ordered, 1);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(q), _mm_packs_epi16(low, high));
  __m128i sum = _mm_madd_epi16(_mm_add_epi16(low, high), _mm_set1_epi16(1));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1));
  return _mm_cvtsi128_si32(sum);
}

struct Body {
  static float max_magnitude(const float* x, int n) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    __m256 max = _mm256_setzero_ps();
    // vmaxps gives its second operand where one is NaN.
    for (int i = 0; i < n; i += 8) max = _mm256_max_ps(_mm256_andnot_ps(sign, _mm256_loadu_ps(x + i)), max);
    __m128 half = _mm_max_ps(_mm256_castps256_ps128(max), _mm256_extractf128_ps(max, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    half = _mm_max_ss(half, _mm_movehdup_ps(half));
    return _mm_cvtss_f32(half);
  }
  static HalfSums quantise32(const float* x, float factor, int8_t* q) {
    return {quantise16(x, factor, q), quantise16(x + 16, factor, q + 16)};
  }
  static void round_to_bf16(const float* x, int64_t n, uint16_t* out) {
    for (int64_t i = 0; i < n; i += 16) {
      const int count = n - i < 16 ? static_cast<int>(n - i) : 16;
      const F32x16 rounded = F32x16::round_to_bf16(F32x16::load_n(x + i, count));
      // The pack works within 128-bit halves.
      const __m256i packed = _mm256_permute4x64_epi64(
          _mm256_packus_epi32(_mm256_srli_epi32(_mm256_castps_si256(rounded.lo), 16),
                              _mm256_srli_epi32(_mm256_castps_si256(rounded.hi), 16)),
          0xd8);
      uint16_t values[16];
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(values), packed);
      __builtin_memcpy(out + i, values, static_cast<size_t>(count) * sizeof(uint16_t));
    }
  }
};

}  // namespace

void quantize(ActivationFormat format, const float* x, int64_t num_cols, std::byte* out) noexcept {
  quantise_row<Body>(format, x, num_cols, out);
}

}  // namespace pagoda::isa_avx2
