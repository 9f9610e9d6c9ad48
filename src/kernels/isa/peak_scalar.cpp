#include <cmath>
#include <cstring>

#include "kernels/isa/peak.h"

namespace pagoda::isa_scalar {

namespace {

constexpr int kChains = 8;

uint64_t read(const std::byte* data, size_t num_bytes) noexcept {
  const size_t stride = num_bytes / 4;
  uint64_t sums[4] = {};
  for (size_t at = 0; at < stride; at += 8) {
#pragma GCC unroll 4
    for (size_t stream = 0; stream < 4; ++stream) {
      uint64_t word;
      std::memcpy(&word, data + stream * stride + at, sizeof word);
      sums[stream] ^= word;
    }
  }
  return sums[0] ^ sums[1] ^ sums[2] ^ sums[3];
}

// The empty asm statements keep the compiler from hoisting or folding the products.
uint64_t multiply_int8(int64_t rounds) noexcept {
  int32_t sums[kChains] = {};
  int32_t factor = 3;
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 8
    for (int32_t& sum : sums) {
      __asm__ volatile("" : "+r"(factor));
      sum += factor * static_cast<int8_t>(round);
    }
  }
  uint64_t total = 0;
  for (const int32_t sum : sums) total += static_cast<uint32_t>(sum);
  return total;
}

uint64_t multiply_f32(int64_t rounds) noexcept {
  float sums[kChains] = {1, 2, 3, 4, 5, 6, 7, 8};
  float factor = 0.5f;
  for (int64_t round = 0; round < rounds; ++round) {
    __asm__ volatile("" : "+m"(factor));
#pragma GCC unroll 8
    for (float& sum : sums) sum = sum * factor + 1.0f;
  }
  float total = 0;
  for (const float sum : sums) total += sum;
  return static_cast<uint64_t>(total);
}

}  // namespace

PeakKernels peak_kernels() {
  return {read, {multiply_int8, 2 * kChains}, {multiply_f32, 2 * kChains}};
}

}  // namespace pagoda::isa_scalar
