#include "nn/rope.h"

#include <cmath>

#include <gtest/gtest.h>

namespace pagoda {
namespace {

struct Angles {
  std::vector<float> cos;
  std::vector<float> sin;
};

Angles angles_of(const RopeSpec& spec, int32_t position, std::span<const float> divisors = {}) {
  const RopeFrequencies frequencies(spec, divisors);
  EXPECT_EQ(frequencies.rotary_dim(), spec.rotary_dim);
  Angles angles = {std::vector<float>(static_cast<size_t>(spec.rotary_dim / 2)),
                   std::vector<float>(static_cast<size_t>(spec.rotary_dim / 2))};
  frequencies.angles(position, angles.cos.data(), angles.sin.data());
  return angles;
}

TEST(Rope, FrequenciesFallGeometrically) {
  const Angles angles = angles_of({.rotary_dim = 8, .base = 10000.0}, 3);
  const double want[] = {3.0, 0.3, 0.03, 0.003};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(angles.cos[i], std::cos(want[i]), 1e-6);
    EXPECT_NEAR(angles.sin[i], std::sin(want[i]), 1e-6);
  }
}

TEST(Rope, LinearScalingSlowsPositions) {
  const Angles scaled = angles_of({.rotary_dim = 8, .scaling = RopeSpec::Scaling::linear, .factor = 4.0}, 12);
  const Angles plain = angles_of({.rotary_dim = 8}, 3);
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(scaled.sin[i], plain.sin[i], 1e-6);
}

TEST(Rope, DivisorsScaleEachFrequency) {
  const std::vector<float> divisors = {1.0f, 2.0f, 4.0f, 8.0f};
  const Angles angles = angles_of({.rotary_dim = 8}, 5, divisors);
  const double want[] = {5.0, 0.25, 0.0125, 0.000625};
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(angles.sin[i], std::sin(want[i]), 1e-6);
}

TEST(Rope, Llama3KeepsHighAndDividesLowFrequencies) {
  // Wavelengths 2 pi, 2 pi * 10, 2 pi * 100, 2 pi * 1000; kept below 64 / 4, divided above 64.
  const RopeSpec spec = {.rotary_dim = 8,
                         .scaling = RopeSpec::Scaling::llama3,
                         .factor = 8.0,
                         .original_max_context = 64.0,
                         .low_freq_factor = 1.0,
                         .high_freq_factor = 4.0};
  const Angles angles = angles_of(spec, 1);
  const double wavelength = 2 * std::acos(-1.0) * 10;
  const double smooth = (64.0 / wavelength - 1.0) / 3.0;
  EXPECT_NEAR(angles.sin[0], std::sin(1.0), 1e-6);
  EXPECT_NEAR(angles.sin[1], std::sin((1 - smooth) * 0.1 / 8 + smooth * 0.1), 1e-7);
  EXPECT_NEAR(angles.sin[2], std::sin(0.01 / 8), 1e-7);
  EXPECT_NEAR(angles.sin[3], std::sin(0.001 / 8), 1e-7);
}

TEST(Rope, YarnStretchesVectors) {
  const RopeSpec spec = {
      .rotary_dim = 8, .scaling = RopeSpec::Scaling::yarn, .factor = 4.0, .original_max_context = 40.0};
  const Angles angles = angles_of(spec, 0);
  for (const float cos : angles.cos) EXPECT_NEAR(cos, 0.1 * std::log(4.0) + 1.0, 1e-6);
  RopeSpec given = spec;
  given.attention_factor = 1.25;
  EXPECT_FLOAT_EQ(angles_of(given, 0).cos[0], 1.25f);
}

}  // namespace
}  // namespace pagoda
