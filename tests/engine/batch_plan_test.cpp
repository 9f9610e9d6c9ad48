#include "engine/batch_plan.h"

#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/sequence_factory.h"

namespace pagoda {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

class BatchPlanTest : public ::testing::Test {
 protected:
  // Pairs of (index of the sequence, number of tokens).
  std::vector<std::pair<int, int>> plan(const std::vector<Sequence*>& ranked, const PlanLimits& limits) {
    BatchPlan batch;
    plan_batch(ranked, limits, batch);
    std::vector<std::pair<int, int>> result;
    for (const PlanItem& item : batch.items) {
      EXPECT_EQ(item.first_position, item.sequence->num_computed);
      result.emplace_back(std::ranges::find(ranked, item.sequence) - ranked.begin(), item.num_tokens);
    }
    return result;
  }
  Sequence* decoding(int64_t length) {
    return &make_({.num_prompt = length, .num_output = 1, .num_computed = length});
  }
  Sequence* prompt(int64_t length, int64_t computed = 0) {
    return &make_({.num_prompt = length, .num_computed = computed});
  }
  Sequence& make_(const testing::SequenceFactory::Numbers& numbers) { return factory_.make(numbers); }
  testing::SequenceFactory factory_;
};

TEST_F(BatchPlanTest, DecodesComeFirstAndPromptsShareTheRest) {
  const PlanLimits limits{.max_tokens = 32, .max_logits_rows = 8, .prefill_chunk = 32};
  EXPECT_THAT(plan({prompt(20), decoding(5), prompt(100), decoding(7)}, limits),
              ElementsAre(Pair(1, 1), Pair(3, 1), Pair(0, 20), Pair(2, 10)));
}

TEST_F(BatchPlanTest, ALongPromptLeavesRoomForOthersUnderTheChunkLimit) {
  const PlanLimits limits{.max_tokens = 32, .max_logits_rows = 8, .prefill_chunk = 16};
  EXPECT_THAT(plan({prompt(1000), prompt(10), prompt(10)}, limits),
              ElementsAre(Pair(0, 16), Pair(1, 10), Pair(2, 6)));
}

TEST_F(BatchPlanTest, ChunksContinueWhereTheyStopped) {
  const PlanLimits limits{.max_tokens = 16, .max_logits_rows = 8, .prefill_chunk = 16};
  EXPECT_THAT(plan({prompt(40, 30)}, limits), ElementsAre(Pair(0, 10)));
  EXPECT_THAT(plan({prompt(40, 10)}, limits), ElementsAre(Pair(0, 16)));
}

TEST_F(BatchPlanTest, PreemptedSequencesComputeTheirOutputLikeAPrompt) {
  Sequence& sequence = make_({.num_prompt = 5, .num_output = 8, .num_computed = 0});
  EXPECT_THAT(plan({&sequence}, {.max_tokens = 32, .max_logits_rows = 8, .prefill_chunk = 32}),
              ElementsAre(Pair(0, 13)));
}

TEST_F(BatchPlanTest, OnlyTheLastKnownTokenAsksForLogits) {
  const LogitsRange whole = logits_range({prompt(10), 0, 10});
  EXPECT_EQ(whole.begin, 9);
  EXPECT_EQ(whole.end, 10);
  EXPECT_EQ(logits_range({prompt(10), 0, 9}).size(), 0);
  EXPECT_EQ(logits_range({&make_({.num_prompt = 10, .max_tokens = 0}), 0, 10}).size(), 0);
}

TEST_F(BatchPlanTest, PromptLogprobsAskForTheRowsNotSeenYet) {
  Sequence& sequence = make_({.num_prompt = 10, .want_prompt_logprobs = true});
  EXPECT_EQ(logits_range({&sequence, 0, 4}).size(), 4);
  EXPECT_EQ(logits_range({&sequence, 4, 6}).size(), 6) << "five scored, one sampled";
  Sequence& again = make_({.num_prompt = 10, .want_prompt_logprobs = true, .num_scored = 6});
  EXPECT_EQ(logits_range({&again, 0, 6}).size(), 0);
  EXPECT_EQ(logits_range({&again, 0, 8}).begin, 6);
  EXPECT_EQ(logits_range({&again, 0, 8}).size(), 2);
}

TEST_F(BatchPlanTest, RowsOfLogitsBoundChunksOfScoredPrompts) {
  Sequence& scored = make_({.num_prompt = 100, .want_prompt_logprobs = true});
  const PlanLimits limits{.max_tokens = 64, .max_logits_rows = 8, .prefill_chunk = 64};
  EXPECT_THAT(plan({&scored, decoding(3)}, limits), ElementsAre(Pair(1, 1), Pair(0, 7)));
  Sequence& seen = make_({.num_prompt = 100, .want_prompt_logprobs = true, .num_scored = 50});
  EXPECT_THAT(plan({&seen}, limits), ElementsAre(Pair(0, 58)));
}

TEST_F(BatchPlanTest, ChunksFitTheTimeThatDecodesLeave) {
  // A millisecond a token, two for a pass.
  CostVector costs{};
  costs[static_cast<size_t>(CostTerm::pass)] = 0.002;
  costs[static_cast<size_t>(CostTerm::few_tokens)] = 0.001;
  costs[static_cast<size_t>(CostTerm::more_tokens)] = 0.001;
  const CostModel model(AttentionReach(), costs);
  PlanLimits limits{
      .max_tokens = 256, .max_logits_rows = 8, .prefill_chunk = 256, .costs = &model, .max_seconds = 0.0335};
  // 2 ms and 31 for 32 tokens: they end with a block of eight rows.
  EXPECT_THAT(plan({prompt(200), decoding(5), decoding(7)}, limits),
              ElementsAre(Pair(1, 1), Pair(2, 1), Pair(0, 30)));
  EXPECT_THAT(plan({prompt(20), prompt(30)}, limits), ElementsAre(Pair(0, 20), Pair(1, 12)));
  EXPECT_THAT(plan({prompt(32), prompt(30)}, limits), ElementsAre(Pair(0, 32))) << "no time is left";
  limits.max_seconds = 0.001;
  EXPECT_THAT(plan({prompt(200), prompt(100), decoding(5)}, limits), ElementsAre(Pair(2, 1), Pair(0, 8)))
      << "decodes and the first prompt advance all the same";
}

TEST_F(BatchPlanTest, AsManyRunAsCanGenerateInHalfAStep) {
  CostVector costs{};
  costs[static_cast<size_t>(CostTerm::sequences)] = 0.001;
  const CostModel model(AttentionReach(), costs);
  PlanLimits limits{.costs = &model, .max_seconds = 0.040};
  const std::vector<Sequence*> running(15, decoding(5));
  EXPECT_EQ(most_running(running, limits, 64), 20);
  EXPECT_EQ(most_running(running, limits, 18), 18);
  limits.max_seconds = 0.004;
  EXPECT_EQ(most_running(running, limits, 64), 15) << "those that run stay";
  EXPECT_EQ(most_running({}, limits, 64), 8);
  limits.max_seconds = 0;
  EXPECT_EQ(most_running(running, limits, 64), 64);
}

TEST_F(BatchPlanTest, PropertiesHoldForRandomSequences) {
  std::mt19937 random(5);
  const auto below = [&](int64_t bound) {
    return static_cast<int64_t>(random() % static_cast<uint64_t>(bound));
  };
  for (int round = 0; round < 2000; ++round) {
    const auto count = static_cast<int32_t>(1 + below(8));
    std::vector<Sequence*> ranked;
    for (int32_t i = 0; i < count; ++i) {
      if (below(2) == 0) {
        ranked.push_back(decoding(1 + below(50)));
      } else {
        const int64_t length = 1 + below(60);
        const int64_t computed = below(length);
        ranked.push_back(&make_({.num_prompt = length,
                                 .num_computed = computed,
                                 .want_prompt_logprobs = below(3) == 0,
                                 .num_scored = std::min(computed, length - 1)}));
      }
    }
    const PlanLimits limits{.max_tokens = count + static_cast<int32_t>(below(40)),
                            .max_logits_rows = count + static_cast<int32_t>(below(10)),
                            .prefill_chunk = 1 + static_cast<int32_t>(below(40))};
    BatchPlan batch;
    plan_batch(ranked, limits, batch);
    int64_t num_tokens = 0;
    int64_t num_rows = 0;
    std::vector<Sequence*> planned;
    for (const PlanItem& item : batch.items) {
      ASSERT_GT(item.num_tokens, 0);
      ASSERT_LE(item.end_position(), item.sequence->num_known());
      ASSERT_LE(item.num_tokens, limits.prefill_chunk);
      num_tokens += item.num_tokens;
      num_rows += logits_range(item).size();
      planned.push_back(item.sequence);
    }
    ASSERT_LE(num_tokens, limits.max_tokens);
    ASSERT_LE(num_rows, limits.max_logits_rows);
    for (Sequence* sequence : ranked) {
      if (sequence->num_remaining() != 1) continue;
      ASSERT_THAT(planned, ::testing::Contains(sequence)) << "a decode was skipped";
    }
    ASSERT_FALSE(planned.empty());
  }
}

}  // namespace
}  // namespace pagoda
