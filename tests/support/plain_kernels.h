// The reductions that sampling needs, written for reading: tests of the engine and the sampler run without
// the ISA bodies, which have tests of their own.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/kernels.h"

namespace pagoda::testing {

inline Kernels plain_kernels() {
  Kernels kernels;
  kernels.ops.max = [](const float* x, int64_t n) noexcept {
    float max = -std::numeric_limits<float>::infinity();
    for (int64_t i = 0; i < n; ++i) max = std::max(max, x[i]);
    return max;
  };
  kernels.ops.argmax = [](const float* x, int64_t n) noexcept {
    int64_t best = -1;
    for (int64_t i = 0; i < n; ++i)
      if (!std::isnan(x[i]) && (best < 0 || x[i] > x[best])) best = i;
    return std::max<int64_t>(best, 0);
  };
  kernels.ops.log_sum_exp = [](const float* x, int64_t n) noexcept {
    const float max = *std::max_element(x, x + n);
    if (max == -std::numeric_limits<float>::infinity()) return max;
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += std::exp(static_cast<double>(x[i]) - static_cast<double>(max));
    return static_cast<float>(static_cast<double>(max) + std::log(sum));
  };
  kernels.ops.all_valid = [](const float* x, int64_t n) noexcept {
    return std::none_of(x, x + n,
                        [](float v) { return std::isnan(v) || v == std::numeric_limits<float>::infinity(); });
  };
  kernels.ops.apply_mask = [](const float* x, const uint32_t* mask, int64_t n, float* out) noexcept {
    for (int64_t i = 0; i < n; ++i)
      out[i] = (mask[i / 32] >> (i % 32) & 1u) != 0 ? x[i] : -std::numeric_limits<float>::infinity();
  };
  kernels.ops.divide = [](const float* x, float divisor, int64_t n, float* out) noexcept {
    std::transform(x, x + n, out, [=](float v) { return v / divisor; });
  };
  kernels.ops.exponentiate = [](const float* x, float shift, int64_t n, float* out) noexcept {
    std::transform(x, x + n, out, [=](float v) { return std::exp(v - shift); });
  };
  return kernels;
}

}  // namespace pagoda::testing
