// The elementary functions against double precision, in units in the last place of f32. The vector type is
// the scalar one; ops_test shows that the others give the same bits.
#include "kernels/isa/ops_math.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include <gtest/gtest.h>

#include "kernels/isa/vec_scalar.h"

namespace pagoda {
namespace {

using V = isa_scalar::F32x16;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

float exp(float x) {
  return Math<V>::exp(V::set1(x)).lane[0];
}
float tanh(float x) {
  return Math<V>::tanh(V::set1(x)).lane[0];
}
float erf(float x) {
  return Math<V>::erf(V::set1(x)).lane[0];
}
float log(float x) {
  return Math<V>::log(x);
}

// |got - want| over the distance of floats at want.
double error_in_ulps(float got, double want) {
  const int exponent = std::max(std::ilogb(want), -126);
  return std::abs(got - want) / std::ldexp(1.0, exponent - 23);
}

// The greatest error over floats from `low` to `high`, both positive or both negative, `step` bit patterns
// apart.
template <class Function, class Reference>
double worst_error(float low, float high, uint32_t step, Function function, Reference reference) {
  double worst = 0;
  const auto begin = std::min(std::bit_cast<uint32_t>(low), std::bit_cast<uint32_t>(high));
  const auto end = std::max(std::bit_cast<uint32_t>(low), std::bit_cast<uint32_t>(high));
  for (uint32_t bits = begin; bits <= end; bits += step) {
    const auto x = std::bit_cast<float>(bits);
    worst = std::max(worst, error_in_ulps(function(x), reference(double{x})));
  }
  return worst;
}

const auto kExp = [](double x) { return std::exp(x); };
const auto kTanh = [](double x) { return std::tanh(x); };
const auto kLog = [](double x) { return std::log(x); };

TEST(OpsMath, Exp) {
  const double above = worst_error(0x1p-30f, 88.72283f, 1009, exp, kExp);
  const double below = worst_error(-0x1p-30f, -87.0f, 1009, exp, kExp);
  RecordProperty("ulps", std::to_string(std::max(above, below)));
  EXPECT_LT(above, 1.5);
  EXPECT_LT(below, 1.5);
}

TEST(OpsMath, ExpOfSpecialValues) {
  EXPECT_EQ(exp(0.0f), 1.0f);
  EXPECT_EQ(exp(-0.0f), 1.0f);
  EXPECT_EQ(exp(std::numeric_limits<float>::denorm_min()), 1.0f);
  EXPECT_LT(exp(88.72283f), kInfinity);
  EXPECT_EQ(exp(88.72284f), kInfinity);
  EXPECT_EQ(exp(kInfinity), kInfinity);
  EXPECT_GE(exp(-87.0f), std::numeric_limits<float>::min());
  EXPECT_EQ(exp(std::nextafter(-87.0f, -88.0f)), 0.0f);
  EXPECT_EQ(exp(-kInfinity), 0.0f);
  EXPECT_TRUE(std::isnan(exp(kNan)));
}

TEST(OpsMath, ExpOfNonpositiveHasTheSameBits) {
  const auto expect_same = [](float x) {
    const float got = Math<V>::exp_of_nonpositive(V::set1(x)).lane[0];
    ASSERT_EQ(std::bit_cast<uint32_t>(got), std::bit_cast<uint32_t>(exp(x))) << x;
  };
  for (uint32_t bits = std::bit_cast<uint32_t>(-0.0f); bits <= std::bit_cast<uint32_t>(-kInfinity);
       bits += 1009)
    expect_same(std::bit_cast<float>(bits));
  for (const float x : {0.0f, -87.0f, std::nextafter(-87.0f, -88.0f), -kInfinity, kNan}) expect_same(x);
}

TEST(OpsMath, Tanh) {
  const double error = worst_error(0x1p-60f, 20.0f, 1009, tanh, kTanh);
  RecordProperty("ulps", std::to_string(error));
  EXPECT_LT(error, 1.5);
}

TEST(OpsMath, TanhIsOddAndBounded) {
  for (const float x : {0.0f, 1e-40f, 0.1f, 0.625f, 1.0f, 9.0f, 100.0f, 3e38f, kInfinity}) {
    EXPECT_EQ(std::bit_cast<uint32_t>(tanh(-x)), std::bit_cast<uint32_t>(tanh(x)) | 0x80000000u) << x;
    EXPECT_LE(tanh(x), 1.0f);
  }
  EXPECT_EQ(tanh(kInfinity), 1.0f);
  EXPECT_TRUE(std::isnan(tanh(kNan)));
}

TEST(OpsMath, ErfWithinAnAbsoluteError) {
  double worst = 0;
  for (int i = 0; i <= 60000; ++i) {
    const float x = static_cast<float>(i) * 1e-4f;
    worst = std::max(worst, std::abs(erf(x) - std::erf(double{x})));
    EXPECT_EQ(erf(-x), -erf(x));
  }
  EXPECT_LT(worst, 5e-7);
  EXPECT_EQ(erf(kInfinity), 1.0f);
  EXPECT_TRUE(std::isnan(erf(kNan)));
}

TEST(OpsMath, Log) {
  const double error =
      std::max({worst_error(std::numeric_limits<float>::denorm_min(), 0.999f, 1009, log, kLog),
                worst_error(0.999f, 1.001f, 1, log, kLog),
                worst_error(1.001f, std::numeric_limits<float>::max(), 1009, log, kLog)});
  RecordProperty("ulps", std::to_string(error));
  EXPECT_LT(error, 1.0);
  EXPECT_EQ(log(1.0f), 0.0f);
  EXPECT_EQ(log(0.0f), -kInfinity);
  EXPECT_EQ(log(kInfinity), kInfinity);
  EXPECT_TRUE(std::isnan(log(-1.0f)));
  EXPECT_TRUE(std::isnan(log(kNan)));
}

}  // namespace
}  // namespace pagoda
