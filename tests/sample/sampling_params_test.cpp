#include "sample/sampling_params.h"

#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pagoda {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(SamplingParams, DefaultsAndLimitsAreValid) {
  EXPECT_TRUE(validate({}, 100));
  EXPECT_TRUE(validate({.temperature = 0.0f, .top_k = -1, .top_p = 1e-6f, .min_p = 1.0f}, 100));
  EXPECT_TRUE(
      validate({.presence_penalty = -2.0f, .frequency_penalty = 2.0f, .num_logprobs = kMaxLogprobs}, 100));
  EXPECT_TRUE(validate({.logit_bias = {{0, -100.0f}, {99, 100.0f}}}, 100));
}

TEST(SamplingParams, EachParameterIsNamedWhenOutOfRange) {
  const auto expect_refused = [](const SamplingParams& params, const char* name) {
    const Status status = validate(params, 100);
    ASSERT_FALSE(status) << name;
    EXPECT_EQ(status.error().code, ErrorCode::invalid_argument);
    EXPECT_THAT(status.error().message, ::testing::StartsWith(name));
  };
  for (const float bad : {-0.1f, kNan, kInfinity}) expect_refused({.temperature = bad}, "temperature");
  expect_refused({.top_k = -2}, "top_k");
  for (const float bad : {0.0f, 1.1f, -1.0f, kNan}) expect_refused({.top_p = bad}, "top_p");
  for (const float bad : {-0.1f, 1.1f, kNan}) expect_refused({.min_p = bad}, "min_p");
  for (const float bad : {0.0f, -1.0f, kNan, kInfinity})
    expect_refused({.repetition_penalty = bad}, "repetition_penalty");
  for (const float bad : {-2.1f, 2.1f, kNan}) {
    expect_refused({.presence_penalty = bad}, "presence_penalty");
    expect_refused({.frequency_penalty = bad}, "frequency_penalty");
  }
  for (const float bad : {-101.0f, 101.0f, kNan}) expect_refused({.logit_bias = {{5, bad}}}, "logit_bias");
  for (const int32_t bad : {-1, 100}) expect_refused({.logit_bias = {{bad, 1.0f}}}, "logit_bias");
  expect_refused({.logit_bias = std::vector<std::pair<int32_t, float>>(kMaxLogitBiases + 1)}, "logit_bias");
  expect_refused({.num_logprobs = -2}, "top_logprobs");
  expect_refused({.num_logprobs = kMaxLogprobs + 1}, "top_logprobs");
}

}  // namespace
}  // namespace pagoda
