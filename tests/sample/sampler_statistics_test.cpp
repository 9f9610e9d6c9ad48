// Whether drawn tokens have the frequencies that the reference's distribution says: chi-square with fixed
// seeds.
#include <cmath>
#include <map>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "sample/reference_sampler.h"
#include "support/plain_kernels.h"

namespace pagoda {
namespace {

constexpr int kDraws = 8000;

// Cells that expect few draws are put together. The bound is exceeded with probability of about 0.0001
// (Wilson-Hilferty with z = 3.7).
void expect_fits(const std::vector<testing::Candidate>& reference, const std::map<int32_t, int>& counts) {
  double statistic = 0;
  int num_cells = 0;
  int num_seen = 0;
  double rest_expected = 0;
  int rest_seen = 0;
  for (const auto& candidate : reference) {
    const auto found = counts.find(candidate.token);
    const int seen = found == counts.end() ? 0 : found->second;
    num_seen += seen;
    const double expected = candidate.probability * kDraws;
    if (expected < 5) {
      rest_expected += expected;
      rest_seen += seen;
      continue;
    }
    statistic += (seen - expected) * (seen - expected) / expected;
    ++num_cells;
  }
  EXPECT_EQ(num_seen, kDraws) << "tokens outside of the distribution were drawn";
  if (rest_expected > 0) {
    statistic += (rest_seen - rest_expected) * (rest_seen - rest_expected) / rest_expected;
    ++num_cells;
  }
  const double degrees = std::max(num_cells - 1, 1);
  const double base = 1 - 2 / (9 * degrees) + 3.7 * std::sqrt(2 / (9 * degrees));
  EXPECT_LT(statistic, degrees * base * base * base) << num_cells << " cells";
}

TEST(SamplerStatistics, FrequenciesFitTheDistribution) {
  const Kernels kernels = testing::plain_kernels();
  std::vector<float> logits(1500);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>((i * 7919) % 1500) * 0.006f;
  const std::vector<int32_t> output = {1200, 1200, 3, 70};
  const SamplingParams variants[] = {
      {},
      {.temperature = 0.6f},
      {.top_k = 10},
      {.top_p = 0.5f},
      {.temperature = 1.5f, .top_p = 0.99f},
      {.temperature = 9.0f, .top_p = 0.6f},
      {.min_p = 0.2f},
      {.temperature = 0.8f, .top_k = 100, .top_p = 0.9f, .min_p = 0.1f},
      {.top_k = 30, .repetition_penalty = 1.2f, .presence_penalty = 1.0f, .frequency_penalty = 0.5f},
  };
  Sampler sampler(kernels, static_cast<int64_t>(logits.size()));
  for (size_t variant = 0; variant < std::size(variants); ++variant) {
    SCOPED_TRACE(fmt::format("variant {}", variant));
    std::map<int32_t, int> counts;
    for (int64_t position = 0; position < kDraws; ++position)
      ++counts[sampler
                   .sample(logits, variants[variant],
                           {.output = output, .seed = variant + 1, .position = position})
                   .token];
    expect_fits(testing::distribution(logits, variants[variant], {.output = output}), counts);
  }
}

// Draws of one seed at neighbouring positions are independent: pairs of two fair coins.
TEST(SamplerStatistics, NeighbouringPositionsAreIndependent) {
  const Kernels kernels = testing::plain_kernels();
  Sampler sampler(kernels, 2);
  std::vector<float> logits = {0.5f, 0.5f};
  int counts[4] = {};
  int last = 0;
  for (int64_t position = 0; position <= kDraws; ++position) {
    const int32_t token = sampler.sample(logits, {}, {.seed = 3, .position = position}).token;
    if (position > 0) ++counts[2 * last + token];
    last = token;
  }
  double statistic = 0;
  for (const int count : counts) statistic += std::pow(count - kDraws / 4.0, 2) / (kDraws / 4.0);
  EXPECT_LT(statistic, 16.3) << "3 degrees of freedom, probability 0.001";
}

}  // namespace
}  // namespace pagoda
