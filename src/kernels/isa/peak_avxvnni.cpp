#include <immintrin.h>

#include "kernels/isa/peak.h"

namespace pagoda::isa_avxvnni {

namespace {

constexpr int kChains = 12;

// As in peak_avx2.cpp.
uint64_t multiply(int64_t rounds) noexcept {
  __m256i sums[kChains];
#pragma GCC unroll 12
  for (__m256i& sum : sums) {
    sum = _mm256_setzero_si256();
    __asm__ volatile("" : "+x"(sum));
  }
  __m256i weights = _mm256_set1_epi8(1);
  const __m256i activations = _mm256_set1_epi8(2);
  for (int64_t round = 0; round < rounds; ++round) {
    __asm__ volatile("" : "+x"(weights));
#pragma GCC unroll 12
    for (__m256i& sum : sums) sum = _mm256_dpbusd_avx_epi32(sum, weights, activations);
  }
  __m256i total = sums[0];
#pragma GCC unroll 12
  for (const __m256i& sum : sums) total = _mm256_xor_si256(total, sum);
  return static_cast<uint64_t>(_mm_cvtsi128_si64(_mm256_castsi256_si128(total)));
}

}  // namespace

PeakLoop int8_peak() {
  return {multiply, kChains * 64};
}

}  // namespace pagoda::isa_avxvnni
