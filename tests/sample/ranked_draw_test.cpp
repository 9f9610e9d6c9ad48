#include "sample/ranked_draw.h"

#include <cmath>
#include <limits>
#include <random>

#include <gtest/gtest.h>

#include "support/plain_kernels.h"

namespace pagoda {
namespace {

const Kernels kKernels = testing::plain_kernels();

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// The same by sorting everything.
int32_t reference(const std::vector<float>& values, const RankedPrefix& prefix, double random) {
  TopSelector selector(kKernels, static_cast<int64_t>(values.size()));
  const auto sorted =
      selector.sorted_if(values, [&](float v) { return v >= prefix.floor && v != -kInfinity; });
  double kept = 0;
  size_t size = 0;
  while (size < sorted.size() && kept < prefix.mass)
    kept += std::exp(double{sorted[size++].logprob} - prefix.max);
  double rest = random * kept;
  for (size_t i = 0; i < size; ++i) {
    rest -= std::exp(double{sorted[i].logprob} - prefix.max);
    if (rest < 0) return sorted[i].token;
  }
  return sorted[size - 1].token;
}

TEST(RankedDraw, AgreesWithASort) {
  std::mt19937 random(3);
  for (const float spread : {0.001f, 1.0f, 10.0f, 100.0f}) {
    std::vector<float> values(2000);
    std::normal_distribution<float> normal(0.0f, spread);
    for (float& value : values)
      value = random() % 10 == 0 ? -kInfinity : std::round(normal(random) * 64) / 64;
    TopSelector selector(kKernels, 2000);
    RankedDraw ranked(kKernels, selector);
    const float max = *std::ranges::max_element(values);
    double total = 0;
    for (const float value : values) total += std::exp(double{value} - max);
    for (const double share : {1e-9, 0.1, 0.5, 0.9, 0.999, 2.0})
      for (const float floor : {-kInfinity, max - 1.0f, max})
        for (const double number : {0.0, 0.123, 0.5, 0.777, 0.999999}) {
          const RankedPrefix prefix{.max = max, .floor = floor, .mass = share * total};
          EXPECT_EQ(ranked.draw(values, prefix, number), reference(values, prefix, number))
              << spread << " " << share << " " << floor << " " << number;
        }
  }
}

TEST(RankedDraw, OneValueIsEnough) {
  const std::vector<float> values = {-kInfinity, 3.0f, -kInfinity};
  TopSelector selector(kKernels, 3);
  RankedDraw ranked(kKernels, selector);
  for (const double number : {0.0, 0.5, 0.9999999}) EXPECT_EQ(ranked.draw(values, {.max = 3.0f}, number), 1);
}

}  // namespace
}  // namespace pagoda
