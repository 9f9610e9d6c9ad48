#include "sched/cost_model.h"

#include <random>

#include <gtest/gtest.h>

namespace pagoda {
namespace {

// Seconds per unit, of a small model on a slow machine.
constexpr CostVector kTruth = {0.010, 0.001, 0.0015, 0.0008, 0.004, 0.0005, 2e-7, 4e-8, 0.0001};

double true_seconds(const StepWork& work) {
  const CostVector terms = work.terms();
  double seconds = 0;
  for (size_t i = 0; i < kNumCostTerms; ++i) seconds += terms[i] * kTruth[i];
  return seconds;
}

class Steps {
 public:
  explicit Steps(uint32_t seed) : random_(seed) {}

  StepWork decode(int64_t num_sequences) {
    StepWork work;
    for (int64_t i = 0; i < num_sequences; ++i)
      work.add({.first_position = below(2000), .num_tokens = 1, .num_logits_rows = 1}, reach_);
    return work;
  }
  StepWork mixed() {
    StepWork work = decode(below(12));
    if (work.num_tokens == 0 || below(3) == 0) add_chunk(work);
    if (below(6) == 0) add_chunk(work);
    return work;
  }
  double noise(double sigma) { return std::normal_distribution(1.0, sigma)(random_); }
  int64_t below(int64_t bound) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(bound)); }

 private:
  void add_chunk(StepWork& work) {
    work.add({.first_position = below(4000), .num_tokens = 2 + below(250), .num_logits_rows = below(2)},
             reach_);
  }
  std::mt19937 random_;
  AttentionReach reach_;
};

TEST(AttentionReach, CountsWhatTokensSeeInEveryLayer) {
  const std::vector<int64_t> windows = {4, 0, 4, 10};
  const AttentionReach reach(windows);
  for (int64_t first = 0; first < 15; ++first) {
    for (int64_t count = 1; count < 20; ++count) {
      double expected = 0;
      for (const int64_t window : windows)
        for (int64_t position = first; position < first + count; ++position)
          expected += static_cast<double>(window > 0 ? std::min(window, position + 1) : position + 1) / 4;
      EXPECT_NEAR(reach.pairs(first, count), expected, 1e-9) << first << " " << count;
    }
  }
  EXPECT_DOUBLE_EQ(AttentionReach().positions(99), 100);
}

TEST(CostModel, FindsTheCoefficientsOfALinearWorld) {
  Steps steps(1);
  CostModel model;
  for (int i = 0; i < 600; ++i) {
    const StepWork work = steps.mixed();
    model.observe(work, true_seconds(work));
  }
  for (int i = 0; i < 100; ++i) {
    const StepWork work = steps.mixed();
    EXPECT_NEAR(model.predict(work) / true_seconds(work), 1, 1e-3);
  }
}

TEST(CostModel, ErrorAndMarginAreThoseOfTheNoise) {
  Steps steps(2);
  CostModel model;
  for (int i = 0; i < 3000; ++i) {
    const StepWork work = steps.mixed();
    model.observe(work, true_seconds(work) * steps.noise(0.05));
  }
  EXPECT_NEAR(model.median_error(), 0.0337, 0.012);
  EXPECT_NEAR(model.margin(), 0.117, 0.04);
  EXPECT_EQ(model.num_observed(), 2999u) << "nothing was predicted for the first";
}

TEST(CostModel, ThePaceFollowsAMachineThatIsSlowForAWhile) {
  Steps steps(3);
  CostModel model(AttentionReach(), kTruth);
  const auto run = [&](double slowness, int num_steps) {
    double largest_error = 0;
    for (int i = 0; i < num_steps; ++i) {
      const StepWork work = steps.mixed();
      const double seconds = slowness * true_seconds(work) * steps.noise(0.01);
      largest_error = std::max(largest_error, std::abs(seconds / (model.predict(work) * model.pace()) - 1));
      model.observe(work, seconds);
    }
    return largest_error;
  };
  EXPECT_LT(run(1, 300), 0.06);
  EXPECT_NEAR(model.pace(), 1, 0.03);
  for (const double slowness : {1.6, 1.0, 0.7, 1.0}) {
    run(slowness, 8);
    EXPECT_LT(run(slowness, 12), 0.1) << slowness;
  }
  EXPECT_LT(model.median_error(), 0.012) << "errors that come in runs are foretold";
}

TEST(CostModel, AStandstillMovesThePaceLittle) {
  Steps steps(4);
  CostModel model(AttentionReach(), kTruth);
  for (int i = 0; i < 50; ++i) {
    const StepWork work = steps.mixed();
    model.observe(work, true_seconds(work));
  }
  const StepWork work = steps.mixed();
  model.observe(work, 20 * true_seconds(work));
  EXPECT_GT(model.pace(), 1.1);
  EXPECT_LT(model.pace(), 1.2);
}

TEST(CostModel, EachSequenceReadsItsPositionsOnce) {
  StepWork work;
  work.add({100, 1, 1}, AttentionReach());
  EXPECT_DOUBLE_EQ(work.kv_positions, 101);
  EXPECT_DOUBLE_EQ(work.attention_pairs, 0);
  work.add({200, 3, 1}, AttentionReach());
  EXPECT_DOUBLE_EQ(work.kv_positions, 101 + 203);
  EXPECT_DOUBLE_EQ(work.attention_pairs, 201 + 202 + 203);
}

TEST(CostModel, TheMarginIsThatOfStepsWithChunks) {
  Steps steps(2);
  CostModel model(AttentionReach(), kTruth);
  StepWork decode;
  decode.add({100, 1, 1}, model.reach());
  StepWork chunk;
  chunk.add({100, 64, 1}, model.reach());
  for (int i = 0; i < 3000; ++i) {
    // A tenth of the steps has a chunk; the others are disturbed.
    const bool has_chunk = i % 10 == 0;
    const StepWork& work = has_chunk ? chunk : decode;
    model.observe(work, true_seconds(work) * (has_chunk ? steps.noise(0.01) : steps.noise(0.2)));
  }
  EXPECT_GT(model.margin(), 0.01);
  EXPECT_LT(model.margin(), 0.25) << "less than the 0.4 of the others; the pace carries some of it over";
}

TEST(CostModel, CoefficientsAreNeverNegative) {
  // Times that no sum of terms gives.
  Steps steps(3);
  CostModel model;
  for (int i = 0; i < 500; ++i) {
    const StepWork work = steps.mixed();
    model.observe(work, work.num_tokens > 100 ? 0.001 : 0.1);
    for (const double coefficient : model.coefficients()) ASSERT_GE(coefficient, 0) << i;
  }
}

TEST(CostModel, OneOutlierMovesItLittle) {
  Steps steps(4);
  CostModel model;
  const auto run = [&](int count) {
    for (int i = 0; i < count; ++i) {
      const StepWork work = steps.mixed();
      model.observe(work, true_seconds(work) * steps.noise(0.02));
    }
  };
  run(400);
  const StepWork step = steps.decode(4);
  const double before = model.predict(step);
  model.observe(step, 50 * before);
  EXPECT_NEAR(model.predict(step) / before, 1, 0.1);
}

TEST(CostModel, TermsThatDoNotOccurKeepWhatTheSeedSays) {
  Steps steps(5);
  CostModel model;
  for (int i = 0; i < 60; ++i) {
    const StepWork work = steps.mixed();
    model.add_seed(work, true_seconds(work));
  }
  model.fit();
  StepWork prefill;
  prefill.add({.first_position = 1000, .num_tokens = 256}, model.reach());
  // Decodes alone, for long, while the machine has become slower by half.
  for (int i = 0; i < 20000; ++i) {
    const StepWork work = steps.decode(1 + i % 8);
    model.observe(work, 1.5 * true_seconds(work));
  }
  const StepWork decode = steps.decode(4);
  EXPECT_NEAR(model.predict(decode) / (1.5 * true_seconds(decode)), 1, 0.03);
  EXPECT_GT(model.predict(prefill), 0.7 * true_seconds(prefill));
  EXPECT_LT(model.predict(prefill), 2 * true_seconds(prefill));
}

TEST(CostModel, FollowsAMachineThatBecomesSlower) {
  Steps steps(6);
  CostModel model;
  for (const double speed : {1.0, 2.0}) {
    for (int i = 0; i < 1000; ++i) {
      const StepWork work = steps.mixed();
      model.observe(work, speed * true_seconds(work));
    }
    const StepWork work = steps.mixed();
    EXPECT_NEAR(model.predict(work) / (speed * true_seconds(work)), 1, 0.02);
  }
}

TEST(CostModel, GivenCoefficientsHoldUntilStepsRun) {
  const CostModel model(AttentionReach(), kTruth);
  Steps steps(7);
  for (int i = 0; i < 50; ++i) {
    const StepWork work = steps.mixed();
    EXPECT_DOUBLE_EQ(model.predict(work), true_seconds(work));
  }
}

TEST(CostModel, TheSameStepsGiveTheSameBits) {
  std::vector<CostModel> models(2);
  for (CostModel& model : models) {
    Steps steps(8);
    for (int i = 0; i < 300; ++i) {
      const StepWork work = steps.mixed();
      model.observe(work, true_seconds(work) * steps.noise(0.1));
    }
  }
  EXPECT_EQ(models[0].coefficients(), models[1].coefficients());
  EXPECT_EQ(models[0].margin(), models[1].margin());
}

TEST(CostModel, SharesOfAStepAddUpToIt) {
  const CostModel model(AttentionReach(), kTruth);
  const std::vector<WorkItem> items = {{100, 1, 1}, {900, 1, 1}, {0, 40, 0}, {512, 9, 1}};
  StepWork step;
  for (const WorkItem& item : items) step.add(item, model.reach());
  double sum = 0;
  for (const WorkItem& item : items) sum += model.share(step, item);
  EXPECT_NEAR(sum, model.predict(step), 1e-12);
  // A decode pays for itself and its part of the pass, not for the prompt beside it.
  EXPECT_LT(model.share(step, items[0]), 0.2 * model.predict(step));
}

TEST(CostModel, LargestChunkIsTheLargestThatFits) {
  const CostModel model(AttentionReach(), kTruth);
  Steps steps(9);
  for (int i = 0; i < 300; ++i) {
    const StepWork step = steps.decode(steps.below(8));
    const ChunkRange range = {.first_position = steps.below(3000),
                              .most_tokens = 1 + steps.below(400),
                              .ends_prompt = steps.below(2) == 0,
                              .logits_everywhere = steps.below(4) == 0};
    const double budget = 0.001 * static_cast<double>(steps.below(250));
    const int64_t chunk = model.largest_chunk(step, range, budget);
    const auto seconds = [&](int64_t num_tokens) {
      StepWork with = step;
      const bool samples = range.ends_prompt && num_tokens == range.most_tokens;
      with.add({range.first_position, num_tokens,
                range.logits_everywhere ? num_tokens
                : samples               ? 1
                                        : 0},
               model.reach());
      return model.predict(with);
    };
    ASSERT_LE(chunk, range.most_tokens);
    if (chunk > 0) {
      ASSERT_LE(seconds(chunk), budget);
    }
    if (chunk == range.most_tokens) continue;
    if (chunk > kFewTokens) {
      EXPECT_EQ((step.num_tokens + chunk) % 8, 0) << "ends within a block of rows";
    }
    // No more than the rest of a block is given away.
    const int64_t more = chunk + (chunk > 0 ? 8 : 1);
    if (more < range.most_tokens) {
      EXPECT_GT(seconds(more), budget);
    }
  }
}

}  // namespace
}  // namespace pagoda
