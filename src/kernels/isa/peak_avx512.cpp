#include <immintrin.h>

#include "kernels/isa/peak.h"

namespace pagoda::isa_avx512 {

namespace {

constexpr int kChains = 16;

uint64_t first_word(__m512i value) {
  uint64_t words[8];
  _mm512_storeu_si512(words, value);
  return words[0];
}

uint64_t read(const std::byte* data, size_t num_bytes) noexcept {
  const size_t stride = num_bytes / 4;
  __m512i sums[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(),
                     _mm512_setzero_si512()};
  for (size_t at = 0; at < stride; at += 64) {
#pragma GCC unroll 4
    for (size_t stream = 0; stream < 4; ++stream)
      sums[stream] = _mm512_xor_si512(sums[stream], _mm512_loadu_si512(data + stream * stride + at));
  }
  const __m512i total =
      _mm512_xor_si512(_mm512_xor_si512(sums[0], sums[1]), _mm512_xor_si512(sums[2], sums[3]));
  return first_word(total);
}

// The empty asm statements hide values: that the chains are equal, and that the products never change.
uint64_t multiply_int8(int64_t rounds) noexcept {
  __m512i sums[kChains];
#pragma GCC unroll 16
  for (__m512i& sum : sums) {
    sum = _mm512_setzero_si512();
    __asm__ volatile("" : "+v"(sum));
  }
  __m512i weights = _mm512_set1_epi8(1);
  const __m512i activations = _mm512_set1_epi8(2);
  for (int64_t round = 0; round < rounds; ++round) {
    __asm__ volatile("" : "+v"(weights));
#pragma GCC unroll 16
    for (__m512i& sum : sums) sum = _mm512_dpbusd_epi32(sum, weights, activations);
  }
  __m512i total = sums[0];
#pragma GCC unroll 16
  for (const __m512i& sum : sums) total = _mm512_xor_si512(total, sum);
  return first_word(total);
}

uint64_t multiply_f32(int64_t rounds) noexcept {
  __m512 sums[kChains];
#pragma GCC unroll 16
  for (__m512& sum : sums) {
    sum = _mm512_set1_ps(1.0f);
    __asm__ volatile("" : "+v"(sum));
  }
  __m512 factor = _mm512_set1_ps(0.5f);
  const __m512 term = _mm512_set1_ps(0.25f);
  for (int64_t round = 0; round < rounds; ++round) {
    __asm__ volatile("" : "+v"(factor));
#pragma GCC unroll 16
    for (__m512& sum : sums) sum = _mm512_fmadd_ps(sum, factor, term);
  }
  __m512 total = sums[0];
#pragma GCC unroll 16
  for (const __m512& sum : sums) total = _mm512_add_ps(total, sum);
  return static_cast<uint64_t>(_mm512_cvtss_f32(total));
}

}  // namespace

PeakKernels peak_kernels() {
  return {read, {multiply_int8, kChains * 128}, {multiply_f32, kChains * 32}};
}

}  // namespace pagoda::isa_avx512
