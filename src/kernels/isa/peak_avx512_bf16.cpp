#include <immintrin.h>

#include "kernels/isa/peak.h"

namespace pagoda::isa_avx512_bf16 {

namespace {

constexpr int kChains = 16;

// As in peak_avx512.cpp.
uint64_t multiply(int64_t rounds) noexcept {
  __m512 sums[kChains];
#pragma GCC unroll 16
  for (__m512& sum : sums) {
    sum = _mm512_setzero_ps();
    __asm__ volatile("" : "+v"(sum));
  }
  __m512i weights = _mm512_set1_epi16(0x3f80);                                       // 1 as bf16
  const auto activations = __builtin_bit_cast(__m512bh, _mm512_set1_epi16(0x3e80));  // 1/4
  for (int64_t round = 0; round < rounds; ++round) {
    __asm__ volatile("" : "+v"(weights));
#pragma GCC unroll 16
    for (__m512& sum : sums) sum = _mm512_dpbf16_ps(sum, __builtin_bit_cast(__m512bh, weights), activations);
  }
  __m512 total = sums[0];
#pragma GCC unroll 16
  for (const __m512& sum : sums) total = _mm512_add_ps(total, sum);
  return static_cast<uint64_t>(_mm512_cvtss_f32(total));
}

}  // namespace

PeakLoop bf16_peak() {
  return {multiply, kChains * 64};
}

}  // namespace pagoda::isa_avx512_bf16
