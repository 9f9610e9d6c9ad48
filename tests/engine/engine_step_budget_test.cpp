// Steps under a bound on their time, on a clock that the model itself moves.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/engine_harness.h"

namespace pagoda {
namespace {

using testing::EngineHarness;
using testing::expect_output;
using testing::small_config;

// Seconds per unit, as of a small model on a slow machine.
constexpr CostVector kCosts = {0.010, 0, 0.001, 0.001, 0.002, 0.0001, 1e-6, 1e-6, 0.0001};

StepWork work_of(const ForwardBatch& batch) {
  StepWork work;
  size_t row = 0;
  for (const SequenceSlice& slice : batch.sequences) {
    int64_t num_rows = 0;
    const int32_t end = slice.token_begin + slice.num_tokens;
    for (; row < batch.logits_rows.size() && batch.logits_rows[row] < end; ++row) ++num_rows;
    work.add({slice.first_position, slice.num_tokens, num_rows}, AttentionReach());
  }
  return work;
}

// Each forward pass takes as long as the costs say, times `slowness`.
class TimedEngine {
 public:
  TimedEngine(EngineConfig config, const CostVector& costs, const CostVector& believed) {
    FakeModel::Options options{
        .on_forward = [this, truth = CostModel(AttentionReach(), costs)](const ForwardBatch& batch) {
          const auto ns = static_cast<int64_t>(truth.predict(work_of(batch)) * slowness * 1e9);
          num_tokens.push_back(static_cast<int32_t>(batch.token_ids.size()));
          step_ms.push_back(static_cast<double>(ns) * 1e-6);
          if (harness) harness->clock->advance_ns(ns);
        }};
    harness =
        std::make_unique<EngineHarness>(config, options, 0, nullptr, CostModel(AttentionReach(), believed));
  }

  using FakeModel = testing::FakeModel;
  std::unique_ptr<EngineHarness> harness;
  std::vector<double> step_ms;
  std::vector<int32_t> num_tokens;
  double slowness = 1;
};

EngineConfig bounded_config(int64_t max_step_ms) {
  EngineConfig config = small_config();
  config.max_batch_tokens = 256;
  config.prefill_chunk = 256;
  config.max_step_ns = max_step_ms * 1'000'000;
  return config;
}

Request make_request(int32_t prompt_length, int64_t max_tokens, uint64_t seed) {
  std::vector<int32_t> prompt;
  for (int32_t i = 0; i < prompt_length; ++i) prompt.push_back(4 + static_cast<int32_t>(seed + 5 * i) % 60);
  return {.prompt = prompt, .sampling = {.seed = seed}, .max_tokens = max_tokens, .ignore_eos = true};
}

TEST(EngineStepBudget, StepsKeepTheBoundAndOutputsAreTheSame) {
  TimedEngine timed(bounded_config(40), kCosts, kCosts);
  std::vector<Request> requests;
  for (uint64_t seed = 1; seed <= 8; ++seed)
    requests.push_back(make_request(static_cast<int32_t>(20 * seed), 8, seed));
  std::vector<std::shared_ptr<testing::RecordingSink>> sinks;
  for (const Request& request : requests) sinks.push_back(timed.harness->submit(request));
  while (timed.harness->engine->step()) timed.harness->engine->check_invariants();
  for (const double ms : timed.step_ms) EXPECT_LE(ms, 40.0);
  EXPECT_GT(*std::ranges::max_element(timed.step_ms), 34.0) << "the time is used";
  for (size_t i = 0; i < requests.size(); ++i)
    expect_output(sinks[i]->outputs[0], timed.harness->expected(requests[i]));
}

TEST(EngineStepBudget, NoDecodeIsSkippedAndPromptsAdvanceWhenTimeIsShort) {
  // Decodes alone take longer than the bound.
  TimedEngine timed(bounded_config(5), kCosts, kCosts);
  const auto stream = timed.harness->submit(make_request(8, 100, 1));
  timed.harness->engine->step();
  const auto late = timed.harness->submit(make_request(80, 2, 2));
  for (int i = 0; i < 12; ++i) {
    const size_t before = stream->outputs[0].tokens.size();
    timed.harness->engine->step();
    EXPECT_EQ(stream->outputs[0].tokens.size(), before + 1);
  }
  EXPECT_TRUE(late->done) << "eight tokens in each step";
}

TEST(EngineStepBudget, ALongPromptDoesNotStretchTheGapsOfAStream) {
  EngineConfig config = bounded_config(60);
  config.max_context = 4096;
  config.num_pages = 1024;
  TimedEngine timed(config, kCosts, kCosts);
  timed.harness->submit(make_request(8, 400, 1));
  for (int i = 0; i < 5; ++i) timed.harness->engine->step();
  timed.step_ms.clear();
  const auto long_one = timed.harness->submit(make_request(3000, 1, 2));
  while (!long_one->done) timed.harness->engine->step();
  for (const double ms : timed.step_ms) EXPECT_LE(ms, 60.0);
}

TEST(EngineStepBudget, ChunksFollowAMachineThatIsSlowForAWhile) {
  EngineConfig config = bounded_config(60);
  config.max_context = 16384;
  config.num_pages = 4096;
  CostVector costs = kCosts;
  costs[static_cast<size_t>(CostTerm::attention_pairs)] = 1e-8;  // chunks stay as large as they begin
  TimedEngine timed(config, costs, costs);
  timed.harness->submit(make_request(8, 400, 1));
  const auto long_one = timed.harness->submit(make_request(15000, 1, 2));
  const auto run = [&](int num_steps) {
    for (int i = 0; i < num_steps; ++i) timed.harness->engine->step();
  };
  run(250);
  timed.slowness = 1.5;
  run(4);
  EXPECT_GT(timed.harness->engine->stats().costs.pace, 1.2);
  timed.step_ms.clear();
  run(20);
  for (const double ms : timed.step_ms) EXPECT_LE(ms, 60.0);
  timed.slowness = 1;
  run(6);
  const int32_t chunk_before = timed.num_tokens.back();
  timed.step_ms.clear();
  run(20);
  EXPECT_FALSE(long_one->done);
  EXPECT_NEAR(timed.num_tokens.back(), chunk_before, 8);
  for (const double ms : timed.step_ms) EXPECT_GT(ms, 45.0) << "the time is used again";
}

TEST(EngineStepBudget, TheTimeBetweenStepsIsTakenOffTheNext) {
  EngineConfig config = bounded_config(100);
  config.max_context = 4096;
  config.num_pages = 1024;
  TimedEngine timed(config, kCosts, kCosts);
  EngineHarness& harness = *timed.harness;
  harness.submit(make_request(8, 400, 1));
  for (int i = 0; i < 20; ++i) harness.engine->step();
  const auto long_one = harness.submit(make_request(1500, 1, 2));
  harness.clock->advance_ns(1'000'000'000);  // more than can be made up for
  harness.engine->step();
  EXPECT_GT(timed.step_ms.back(), 25.0) << "half of a step is left in any case, less what is kept free";
  EXPECT_LE(timed.step_ms.back(), 50.0);
  double longest = 0;
  while (!long_one->done) {
    harness.clock->advance_ns(20'000'000);
    harness.engine->step();
    longest = std::max(longest, timed.step_ms.back());
  }
  EXPECT_LE(longest, 80.0);
  EXPECT_GT(longest, 68.0) << "the rest is used";
}

TEST(EngineStepBudget, AWrongBeliefIsCorrectedByTheStepsThatRun) {
  // Everything takes three times as long as is thought at first.
  CostVector believed = kCosts;
  for (double& coefficient : believed) coefficient /= 3;
  TimedEngine timed(bounded_config(40), kCosts, believed);
  for (uint64_t seed = 1; seed <= 40; ++seed)
    timed.harness->submit(make_request(static_cast<int32_t>(5 + 5 * (seed % 40)), 6, seed));
  while (timed.harness->engine->step()) {
  }
  ASSERT_GT(timed.step_ms.size(), 40u);
  EXPECT_GT(timed.step_ms.front(), 60.0) << "the first step goes wrong";
  for (size_t i = 30; i < timed.step_ms.size(); ++i) EXPECT_LE(timed.step_ms[i], 41.0) << i;
  const EngineStats stats = timed.harness->engine->stats();
  EXPECT_LT(stats.costs.median_error, 0.02);
  EXPECT_NEAR(stats.predicted_step_seconds / stats.step_time.sum, 1, 0.2);
}

TEST(EngineStepBudget, TheSameArrivalsReplay) {
  std::vector<std::vector<int32_t>> runs;
  for (int run = 0; run < 2; ++run) {
    TimedEngine timed(bounded_config(30), kCosts, {});
    for (uint64_t seed = 1; seed <= 10; ++seed) {
      timed.harness->submit(make_request(static_cast<int32_t>(10 * seed), 5, seed));
      timed.harness->engine->step();
    }
    while (timed.harness->engine->step()) {
    }
    runs.push_back(timed.num_tokens);
  }
  EXPECT_EQ(runs[0], runs[1]);
}

TEST(EngineStepBudget, ListenersHearOfEachStep) {
  TimedEngine timed(bounded_config(40), kCosts, kCosts);
  double expected = 0;
  double measured = 0;
  int64_t num_tokens = 0;
  timed.harness->engine->on_step([&](const Engine::StepReport& step) {
    expected += step.expected_seconds;
    measured += step.seconds;
    num_tokens += step.work.num_tokens;
  });
  timed.harness->submit(make_request(50, 5, 1));
  while (timed.harness->engine->step()) {
  }
  EXPECT_EQ(num_tokens, 54);
  EXPECT_NEAR(expected, measured, 1e-6);
}

}  // namespace
}  // namespace pagoda
