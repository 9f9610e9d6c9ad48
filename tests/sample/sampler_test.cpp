#include "sample/sampler.h"

#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "sample/reference_sampler.h"
#include "support/plain_kernels.h"

namespace pagoda {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> random_logits(size_t size, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, 3.0f);
  std::vector<float> logits(size);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

class SamplerTest : public ::testing::Test {
 protected:
  SampledToken sample(std::vector<float> logits, const SamplingParams& params,
                      const SamplingState& state = {}) {
    sampler_ = std::make_unique<Sampler>(kernels_, static_cast<int64_t>(logits.size()));
    const std::vector<float> before = logits;
    const SampledToken sampled = sampler_->sample(logits, params, state);
    EXPECT_EQ(0, std::memcmp(before.data(), logits.data(), before.size() * sizeof(float)))
        << "logits are restored";
    return sampled;
  }
  const Kernels kernels_ = testing::plain_kernels();
  std::unique_ptr<Sampler> sampler_;
};

TEST_F(SamplerTest, GreedyTakesTheGreatestAndTheFirstAmongEquals) {
  EXPECT_EQ(sample({1, 3, 2}, {.temperature = 0}).token, 1);
  EXPECT_EQ(sample({1, 3, 3}, {.temperature = 0}).token, 1);
  EXPECT_EQ(sample({1, 3, 3}, {.temperature = 1e-6f}).token, 1);
}

// Walks the reference's cumulative distribution: the sampler must choose the token at the same random number,
// save where that lies within rounding of a border.
TEST_F(SamplerTest, DrawsFromTheReferenceDistribution) {
  const std::vector<int32_t> prompt = {3, 5, 5, 9};
  const std::vector<int32_t> output = {5, 7, 7, 7, 11};
  const std::vector<int32_t> banned = {2, 13};
  const SamplingParams variants[] = {
      {.temperature = 0.7f, .top_k = 40},
      {.temperature = 1.3f, .top_p = 0.9f},
      {.top_p = 0.999f},
      {.min_p = 0.05f},
      {.temperature = 2.0f, .top_k = 100, .top_p = 0.8f, .min_p = 0.02f},
      {.top_p = 0.95f, .min_p = 0.1f},
      {.temperature = 8.0f, .top_p = 0.9f},
      {.temperature = 8.0f, .top_p = 0.9f, .min_p = 0.4f},
      {.temperature = 20.0f, .min_p = 0.3f},
      {.temperature = 0.5f, .top_k = 1},
      {.top_k = 5000, .repetition_penalty = 1.3f, .presence_penalty = 0.5f, .frequency_penalty = -0.7f},
      {.temperature = 0, .repetition_penalty = 1.5f, .frequency_penalty = 1.0f},
      {.top_k = 8, .logit_bias = {{4, 20.0f}, {6, -100.0f}, {5, 19.0f}}},
  };
  for (const size_t vocab_size : {20u, 3000u}) {
    const auto logits = random_logits(vocab_size, 7);
    for (size_t variant = 0; variant < std::size(variants); ++variant) {
      SCOPED_TRACE(fmt::format("vocabulary {}, variant {}", vocab_size, variant));
      for (int64_t position = 0; position < 50; ++position) {
        const SamplingState state{prompt, output, banned, /*seed=*/99, position};
        const auto reference = testing::distribution(logits, variants[variant], state);
        const int32_t token = sample(logits, variants[variant], state).token;
        double sum = 0;
        double begin = 0;
        double end = -1;
        for (const auto& candidate : reference) {
          if (candidate.token == token) begin = sum, end = sum + candidate.probability;
          sum += candidate.probability;
        }
        const double random = uniform(99, static_cast<uint64_t>(position), 0);
        ASSERT_GE(random, begin - 1e-5) << token;
        ASSERT_LE(random, end + 1e-5) << token;
      }
    }
  }
}

TEST_F(SamplerTest, WithoutFiltersWalksTheVocabularyInOrder) {
  // Four equal tokens in blocks far apart, all else masked: the random number tells which one it must be.
  std::vector<float> logits(5000, -kInfinity);
  const int32_t allowed[] = {10, 1023, 1024, 4999};
  for (const int32_t token : allowed) logits[static_cast<size_t>(token)] = 1.0f;
  for (int64_t position = 0; position < 200; ++position) {
    const float random = uniform(5, static_cast<uint64_t>(position), 0);
    EXPECT_EQ(sample(logits, {}, {.seed = 5, .position = position}).token,
              allowed[static_cast<int>(random * 4)]);
  }
}

TEST_F(SamplerTest, AMaskIsAsIfTheOthersHadNoLogit) {
  constexpr size_t kVocabSize = 5003;
  const auto logits = random_logits(kVocabSize, 11);
  std::vector<uint32_t> mask((kVocabSize + 31) / 32);
  // Few tokens in one block; scattered ones; all but a block.
  const std::function<bool(size_t)> rules[] = {
      [](size_t token) { return token >= 4990; },
      [](size_t token) { return token % 7 == 3; },
      [](size_t token) { return token < 1024 || token >= 2048; },
  };
  for (const auto& allowed : rules) {
    std::ranges::fill(mask, 0);
    auto masked = logits;
    for (size_t token = 0; token < kVocabSize; ++token)
      if (allowed(token))
        mask[token / 32] |= 1u << (token % 32);
      else
        masked[token] = -kInfinity;
    for (const SamplingParams& params :
         {SamplingParams{}, {.temperature = 0}, {.temperature = 0.7f}, {.top_k = 5}, {.top_p = 0.9f}})
      for (int64_t position = 0; position < 50; ++position) {
        const SampledToken sampled = sample(logits, params, {.seed = 3, .position = position, .mask = mask});
        EXPECT_TRUE(allowed(static_cast<size_t>(sampled.token)));
        EXPECT_EQ(sampled.token, sample(masked, params, {.seed = 3, .position = position}).token);
      }
  }
}

TEST_F(SamplerTest, LogprobsOfNamedTokens) {
  const auto logits = random_logits(300, 4);
  const SampledToken all = sample(logits, {.temperature = 0, .num_logprobs = 20});
  const int32_t second = all.top_logprobs[1].token;
  const std::vector<TokenLogprob> best(all.top_logprobs.begin(), all.top_logprobs.end());
  const SampledToken named =
      sample(logits, {.temperature = 0, .num_logprobs = 0, .logprob_tokens = {best[7].token, second}});
  ASSERT_EQ(named.top_logprobs.size(), 3u);
  EXPECT_EQ(named.top_logprobs[0].token, named.token);
  EXPECT_EQ(named.top_logprobs[0].logprob, named.logprob);
  EXPECT_EQ(named.top_logprobs[1].token, second);
  EXPECT_EQ(named.top_logprobs[1].logprob, best[1].logprob);
  EXPECT_EQ(named.top_logprobs[2].logprob, best[7].logprob);
  const SampledToken chosen =
      sample(logits, {.temperature = 0, .num_logprobs = 5, .logprob_tokens = {named.token}});
  EXPECT_EQ(chosen.top_logprobs.size(), 1u) << "the chosen one is not there twice";
}

TEST_F(SamplerTest, FiltersThatKeepEverythingAgreeOnProbabilities) {
  const auto logits = random_logits(300, 3);
  const SamplingState state{.seed = 1, .position = 0};
  EXPECT_EQ(testing::distribution(logits, {}, state).size(), 300u);
  for (int64_t position = 0; position < 100; ++position) {
    const SamplingState at{.seed = 1, .position = position};
    EXPECT_EQ(sample(logits, {.top_k = 300}, at).token, sample(logits, {.min_p = 1e-30f}, at).token);
  }
}

TEST_F(SamplerTest, SeedAndPositionDecide) {
  const auto logits = random_logits(1000, 4);
  const SamplingState state{.seed = 10, .position = 3};
  EXPECT_EQ(sample(logits, {}, state).token, sample(logits, {}, state).token);
  std::set<int32_t> by_seed;
  std::set<int32_t> by_position;
  for (int i = 0; i < 20; ++i) {
    by_seed.insert(sample(logits, {}, {.seed = static_cast<uint64_t>(i), .position = 3}).token);
    by_position.insert(sample(logits, {}, {.seed = 10, .position = i}).token);
  }
  EXPECT_GT(by_seed.size(), 5u);
  EXPECT_GT(by_position.size(), 5u);
}

TEST_F(SamplerTest, BannedTokensNeverCome) {
  const std::vector<int32_t> banned = {1};
  for (int64_t position = 0; position < 50; ++position) {
    EXPECT_EQ(sample({0, 50, 0}, {.temperature = 0}, {.banned = banned}).token, 0);
    EXPECT_NE(sample({0, 50, 0}, {}, {.banned = banned, .position = position}).token, 1);
    EXPECT_NE(sample({0, 50, 0}, {.top_p = 0.9f}, {.banned = banned, .position = position}).token, 1);
  }
  const std::vector<int32_t> all = {0, 1, 2};
  EXPECT_EQ(sample({0, 50, 0}, {}, {.banned = all}).token, kNoTokenAllowed);
}

TEST_F(SamplerTest, OnlyAllowedTokensCome) {
  const SamplingParams params{.allowed_tokens = {0, 3}};
  std::set<int32_t> seen;
  for (int64_t position = 0; position < 50; ++position)
    seen.insert(sample({1, 50, 2, 1}, params, {.position = position}).token);
  EXPECT_EQ(seen, (std::set<int32_t>{0, 3}));
  EXPECT_EQ(sample({1, 50, 2}, {.bad_words = {{0}}, .allowed_tokens = {0}}).token, kNoTokenAllowed);
}

TEST_F(SamplerTest, ABadWordsLastTokenIsBannedAfterTheOthers) {
  const SamplingParams params{.temperature = 0, .bad_words = {{7, 8, 1}, {2}}};
  const std::vector<int32_t> whole = {5, 7, 8};
  const std::vector<int32_t> part = {8};
  EXPECT_EQ(sample({1, 50, 60, 2}, params, {.output = whole}).token, 3);
  EXPECT_EQ(sample({1, 50, 60, 2}, params, {.output = part}).token, 1);
  EXPECT_EQ(sample({1, 50, 60, 2}, params, {.prompt = whole}).token, 1);
}

TEST_F(SamplerTest, AScoredTokenHasARank) {
  Sampler sampler(kernels_, 4);
  const std::vector<float> logits = {1, 5, 3, 3};
  EXPECT_EQ(sampler.score(logits, 1, 0).rank, 1);
  EXPECT_EQ(sampler.score(logits, 3, 0).rank, 2);
  EXPECT_EQ(sampler.score(logits, 0, 0).rank, 4);
}

TEST_F(SamplerTest, PenaltiesFollowTheirDefinitions) {
  const std::vector<int32_t> prompt = {0, 1};
  const std::vector<int32_t> output = {2, 2, 3};
  // Greedy reveals which logit is the greatest; the competitor sits just above or below the expected value.
  const auto expect_logit = [&](int32_t token, const SamplingParams& params, float expected) {
    std::vector<float> logits = {4, -4, 4, 4, -100};
    for (const float offset : {-0.01f, 0.01f}) {
      std::vector<float> test = logits;
      for (int32_t other = 0; other < 4; ++other)
        if (other != token) test[static_cast<size_t>(other)] = -1000;
      test[4] = expected + offset;
      EXPECT_EQ(sample(test, params, {.prompt = prompt, .output = output}).token, offset < 0 ? token : 4)
          << "token " << token << " expected " << expected;
    }
  };
  expect_logit(0, {.temperature = 0, .repetition_penalty = 2.0f}, 2.0f);
  expect_logit(1, {.temperature = 0, .repetition_penalty = 2.0f}, -8.0f);
  expect_logit(2, {.temperature = 0, .presence_penalty = 1.5f}, 2.5f);
  expect_logit(2, {.temperature = 0, .frequency_penalty = 1.5f}, 1.0f);
  expect_logit(
      3, {.temperature = 0, .repetition_penalty = 2.0f, .presence_penalty = 0.5f, .frequency_penalty = 0.25f},
      1.25f);
  expect_logit(0, {.temperature = 0, .presence_penalty = 2.0f, .frequency_penalty = 2.0f}, 4.0f);
}

TEST_F(SamplerTest, LogprobsAreOfTheUnmodifiedDistribution) {
  const std::vector<float> logits = {2, 1, 3, 1};
  double total = 0;
  for (const float logit : logits) total += std::exp(logit);
  const auto logprob = [&](size_t token) { return static_cast<float>(logits[token] - std::log(total)); };
  const SampledToken sampled =
      sample(logits, {.temperature = 0, .logit_bias = {{0, 5.0f}}, .num_logprobs = 3}, {.position = 0});
  EXPECT_EQ(sampled.token, 0);
  EXPECT_NEAR(sampled.logprob, logprob(0), 1e-6);
  ASSERT_EQ(sampled.top_logprobs.size(), 3u);
  EXPECT_EQ(sampled.top_logprobs[0].token, 2);
  EXPECT_EQ(sampled.top_logprobs[1].token, 0);
  EXPECT_EQ(sampled.top_logprobs[2].token, 1) << "ties by id";
  EXPECT_NEAR(sampled.top_logprobs[0].logprob, logprob(2), 1e-6);
  EXPECT_TRUE(sample(logits, {.num_logprobs = 0}).top_logprobs.empty());
  EXPECT_EQ(sample(logits, {.num_logprobs = 20}).top_logprobs.size(), 4u);
}

TEST_F(SamplerTest, ScoreReportsAGivenToken) {
  const std::vector<float> logits = {2, 1, 3, 1};
  Sampler sampler(kernels_, 4);
  const SampledToken scored = sampler.score(logits, 1, 2);
  EXPECT_EQ(scored.token, 1);
  EXPECT_NEAR(scored.logprob, 1 - std::log(std::exp(2.0) + 2 * std::exp(1.0) + std::exp(3.0)), 1e-6);
  ASSERT_EQ(scored.top_logprobs.size(), 2u);
  EXPECT_EQ(scored.top_logprobs[0].token, 2);
}

TEST_F(SamplerTest, LogitsThatAreNoDistributionAreRefused) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  for (const float bad : {kNan, kInfinity})
    for (size_t place = 0; place < 40; ++place) {
      std::vector<float> logits(40, 1.0f);
      logits[place] = bad;
      EXPECT_EQ(sample(logits, {.temperature = 0}).token, -1);
      EXPECT_EQ(sample(logits, {}).token, -1);
      EXPECT_EQ(sampler_->score(logits, 0, 1).token, -1);
    }
  EXPECT_EQ(sample(std::vector<float>(40, -kInfinity), {}).token, -1);
}

TEST_F(SamplerTest, ExtremeLogitsGiveATokenAllTheSame) {
  for (const float size : {1e30f, 1e38f})
    for (const SamplingParams& params :
         {SamplingParams{.temperature = 1e-4f}, SamplingParams{.temperature = 1e-4f, .top_p = 0.5f},
          SamplingParams{.temperature = 1e-4f, .top_k = 2},
          SamplingParams{.temperature = 1e-4f, .min_p = 0.1f}}) {
      const int32_t token = sample({-size, size, 0.0f, size}, params).token;
      EXPECT_TRUE(token >= 0 && token < 4);
    }
}

}  // namespace
}  // namespace pagoda
