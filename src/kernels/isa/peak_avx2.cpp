#include <immintrin.h>

#include "kernels/isa/peak.h"

namespace pagoda::isa_avx2 {

namespace {

constexpr int kChains = 12;

uint64_t first_word(__m256i value) {
  return static_cast<uint64_t>(_mm_cvtsi128_si64(_mm256_castsi256_si128(value)));
}

uint64_t read(const std::byte* data, size_t num_bytes) noexcept {
  const size_t stride = num_bytes / 4;
  __m256i sums[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(),
                     _mm256_setzero_si256()};
  for (size_t at = 0; at < stride; at += 32) {
#pragma GCC unroll 4
    for (size_t stream = 0; stream < 4; ++stream)
      sums[stream] = _mm256_xor_si256(
          sums[stream], _mm256_loadu_si256(reinterpret_cast<const __m256i*>(data + stream * stride + at)));
  }
  const __m256i total =
      _mm256_xor_si256(_mm256_xor_si256(sums[0], sums[1]), _mm256_xor_si256(sums[2], sums[3]));
  return first_word(total);
}

// The empty asm statements hide values: that the chains are equal, and that the products never change.
uint64_t multiply_int8(int64_t rounds) noexcept {
  __m256i sums[kChains];
#pragma GCC unroll 12
  for (__m256i& sum : sums) {
    sum = _mm256_setzero_si256();
    __asm__ volatile("" : "+x"(sum));
  }
  __m256i weights = _mm256_set1_epi8(1);
  const __m256i activations = _mm256_set1_epi8(2);
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (__m256i& sum : sums) {
      __asm__ volatile("" : "+x"(weights));
      sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(weights, activations));
    }
  }
  __m256i total = sums[0];
#pragma GCC unroll 12
  for (const __m256i& sum : sums) total = _mm256_xor_si256(total, sum);
  return first_word(total);
}

uint64_t multiply_f32(int64_t rounds) noexcept {
  __m256 sums[kChains];
#pragma GCC unroll 12
  for (__m256& sum : sums) {
    sum = _mm256_set1_ps(1.0f);
    __asm__ volatile("" : "+x"(sum));
  }
  __m256 factor = _mm256_set1_ps(0.5f);
  const __m256 term = _mm256_set1_ps(0.25f);
  for (int64_t round = 0; round < rounds; ++round) {
    __asm__ volatile("" : "+x"(factor));
#pragma GCC unroll 12
    for (__m256& sum : sums) sum = _mm256_fmadd_ps(sum, factor, term);
  }
  __m256 total = sums[0];
#pragma GCC unroll 12
  for (const __m256& sum : sums) total = _mm256_add_ps(total, sum);
  return static_cast<uint64_t>(_mm256_cvtss_f32(total));
}

}  // namespace

PeakKernels peak_kernels() {
  return {read, {multiply_int8, kChains * 64}, {multiply_f32, kChains * 16}};
}

}  // namespace pagoda::isa_avx2
