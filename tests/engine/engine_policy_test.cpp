// The engine under each scheduling policy: order, preemption, and outputs that do not depend on either.
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sched/scheduler_policy.h"
#include "support/engine_harness.h"

namespace pagoda {
namespace {

using testing::EngineHarness;
using testing::expect_output;
using testing::small_config;

// Seconds per unit: a millisecond for each token, so that prompts are what costs.
constexpr CostVector kCosts = {0.001, 0, 0.001, 0.001, 0, 0, 0, 0, 0};

Request make_request(int32_t prompt_length, int64_t max_tokens, uint64_t seed) {
  std::vector<int32_t> prompt;
  for (int32_t i = 0; i < prompt_length; ++i) prompt.push_back(4 + static_cast<int32_t>(seed + 5 * i) % 60);
  return {.prompt = prompt, .sampling = {.seed = seed}, .max_tokens = max_tokens, .ignore_eos = true};
}

std::unique_ptr<EngineHarness> make_harness(std::string_view policy, int32_t max_sequences,
                                            int32_t num_pages = 128) {
  EngineConfig config = small_config();
  config.policy = policy;
  config.max_sequences = max_sequences;
  config.num_pages = num_pages;
  return std::make_unique<EngineHarness>(config, testing::FakeModel::Options{}, 0, nullptr,
                                         CostModel(AttentionReach(), kCosts));
}

// Indices of the sinks in the order in which they are done.
std::vector<size_t> run(EngineHarness& harness,
                        const std::vector<std::shared_ptr<testing::RecordingSink>>& sinks) {
  std::vector<size_t> order;
  while (harness.engine->step()) {
    harness.engine->check_invariants();
    harness.clock->advance_ns(20'000'000);
    for (size_t i = 0; i < sinks.size(); ++i)
      if (sinks[i]->done && std::ranges::find(order, i) == order.end()) order.push_back(i);
  }
  harness.expect_idle();
  return order;
}

TEST(EnginePolicy, PriorityServesTheUrgentFirstAndInPlaceOfOthers) {
  const auto harness = make_harness("priority", 1);
  std::vector<std::shared_ptr<testing::RecordingSink>> sinks;
  std::vector<Request> requests;
  for (const int32_t priority : {1, 2, 0}) {
    requests.push_back(make_request(40, 20, 1 + requests.size()));
    requests.back().priority = priority;
    sinks.push_back(harness->submit(requests.back()));
    harness->engine->step();
  }
  EXPECT_THAT(run(*harness, sinks), ::testing::ElementsAre(2, 0, 1));
  EXPECT_EQ(sinks[0]->timings.num_preemptions, 1);
  for (size_t i = 0; i < sinks.size(); ++i)
    expect_output(sinks[i]->outputs[0], harness->expected(requests[i]));
}

// A short prompt that comes while a long one is computed goes first; gives how often the long one was
// preempted.
int64_t num_preemptions_by_a_short_prompt(int32_t max_sequences) {
  const auto harness = make_harness("mlfq", max_sequences);
  const Request long_one = make_request(200, 4, 1);
  const Request short_one = make_request(10, 4, 2);
  std::vector sinks = {harness->submit(long_one)};
  harness->engine->step();
  sinks.push_back(harness->submit(short_one));
  EXPECT_THAT(run(*harness, sinks), ::testing::ElementsAre(1, 0));
  expect_output(sinks[0]->outputs[0], harness->expected(long_one));
  expect_output(sinks[1]->outputs[0], harness->expected(short_one));
  EXPECT_EQ(harness->engine->stats().num_preemptions,
            static_cast<uint64_t>(sinks[0]->timings.num_preemptions));
  return sinks[0]->timings.num_preemptions;
}

TEST(EnginePolicy, MlfqLetsAShortPromptOvertakeALongOneAtAChunkBorder) {
  EXPECT_EQ(num_preemptions_by_a_short_prompt(8), 0) << "it keeps its place and its pages";
}

TEST(EnginePolicy, MlfqTakesThePlaceOfOneThatComputesALongPrompt) {
  EXPECT_EQ(num_preemptions_by_a_short_prompt(1), 1);
}

// One that has generated for long, and a short one that comes then; gives how often the first was preempted.
int64_t num_preemptions_of_one_that_generates(int32_t num_pages) {
  EngineConfig config = small_config();
  config.policy = "mlfq";
  config.max_sequences = 1;
  config.num_pages = num_pages;
  EngineHarness* running = nullptr;
  const auto harness = std::make_unique<EngineHarness>(
      config,
      testing::FakeModel::Options{
          .on_forward = [&](const ForwardBatch&) { running->clock->advance_ns(20'000'000); }},
      0, nullptr, CostModel(AttentionReach(), kCosts));
  running = harness.get();
  const Request long_one = make_request(100, 107, 1);
  const Request short_one = make_request(40, 4, 2);
  std::vector sinks = {harness->submit(long_one)};
  // Over a second: five levels more than the short one's. It holds 11 pages of 13, the short one will hold 3.
  for (int i = 0; i < 69; ++i) harness->engine->step();
  sinks.push_back(harness->submit(short_one));
  run(*harness, sinks);
  expect_output(sinks[0]->outputs[0], harness->expected(long_one));
  expect_output(sinks[1]->outputs[0], harness->expected(short_one));
  return sinks[0]->timings.num_preemptions;
}

TEST(EnginePolicy, MlfqTakesThePlaceOfOneThatGeneratesWhereItsPagesAreKept) {
  EXPECT_EQ(num_preemptions_of_one_that_generates(14), 1);
}

TEST(EnginePolicy, MlfqLeavesOneThatGeneratesItsPlaceWhereItsPagesWouldGo) {
  EXPECT_EQ(num_preemptions_of_one_that_generates(13), 0);
}

TEST(EnginePolicy, MlfqSkipsJoinByWhatThePrefixCacheLeaves) {
  const auto harness = make_harness("mlfq", 8);
  const Request warm = make_request(200, 1, 1);
  harness->submit(warm);
  harness->run();
  // Longer than the other, but known.
  std::vector sinks = {harness->submit(make_request(100, 1, 2)), harness->submit(warm)};
  EXPECT_THAT(run(*harness, sinks), ::testing::ElementsAre(1, 0));
  EXPECT_EQ(sinks[1]->timings.num_cached_tokens, 192);
}

TEST(EnginePolicy, LpmServesThoseThatTheCacheKnowsFirst) {
  const auto harness = make_harness("lpm", 1);
  const Request warm = make_request(64, 1, 1);
  harness->submit(warm);
  harness->run();
  std::vector<std::shared_ptr<testing::RecordingSink>> sinks;
  for (const uint64_t seed : {2, 3, 1}) sinks.push_back(harness->submit(make_request(64, 1, seed)));
  EXPECT_THAT(run(*harness, sinks), ::testing::ElementsAre(2, 0, 1));
}

TEST(EnginePolicy, LpmSeesPagesThatCameAfterTheRequest) {
  const auto harness = make_harness("lpm", 1);
  std::vector<std::shared_ptr<testing::RecordingSink>> sinks;
  // While the first runs, the third becomes one that is known.
  for (const uint64_t seed : {1, 2, 1}) sinks.push_back(harness->submit(make_request(64, 2, seed)));
  EXPECT_THAT(run(*harness, sinks), ::testing::ElementsAre(0, 2, 1));
}

TEST(EnginePolicy, SrptServesTheLeastLeft) {
  const auto harness = make_harness("srpt", 1);
  std::vector<std::shared_ptr<testing::RecordingSink>> sinks;
  for (const auto& [prompt, output] : {std::pair(10, 60), std::pair(40, 5), std::pair(10, 4)})
    sinks.push_back(harness->submit(make_request(prompt, output, 1 + sinks.size())));
  EXPECT_THAT(run(*harness, sinks), ::testing::ElementsAre(2, 1, 0));
}

TEST(EnginePolicy, ForecastsCountTheWorkThatGoesFirst) {
  for (const std::string_view policy : {"fcfs", "mlfq"}) {
    const auto harness = make_harness(policy, 1);
    Engine& engine = *harness->engine;
    EXPECT_EQ(engine.forecast(100, 16).queue_seconds, 0);
    EXPECT_NEAR(engine.forecast(100, 16).prefill_seconds, 0.1, 1e-9) << "a millisecond a token";
    for (uint64_t seed = 1; seed <= 4; ++seed) harness->submit(make_request(200, 1, seed));
    engine.step();
    // Three wait, of 200 ms and a token each; of the first, 168 tokens are left.
    const Forecast long_one = engine.forecast(200, 16);
    EXPECT_NEAR(long_one.queue_seconds, 0.603, 0.01) << policy;
    EXPECT_NEAR(long_one.prefill_seconds, 0.368, 0.01) << policy;
    const Forecast short_one = engine.forecast(10, 16);
    EXPECT_NEAR(short_one.queue_seconds, policy == "mlfq" ? 0.0 : 0.603, 0.01);
    EXPECT_EQ(engine.retry_after_seconds(), 1);
    harness->run();
    EXPECT_EQ(engine.forecast(100, 16).queue_seconds, 0) << "nothing is left";
  }
}

// An engine with one place, whose steps take 20 ms.
std::unique_ptr<EngineHarness> one_place_with_long_steps() {
  EngineConfig config = small_config();
  config.max_sequences = 1;
  auto clock = std::make_shared<std::shared_ptr<ManualClock>>();
  auto harness = std::make_unique<EngineHarness>(
      config, testing::FakeModel::Options{
                  .on_forward = [clock](const ForwardBatch&) { (*clock)->advance_ns(20'000'000); }});
  *clock = harness->clock;
  return harness;
}

TEST(EnginePolicy, ForecastsLearnHowLongOutputsAre) {
  const auto harness_of_one = one_place_with_long_steps();
  EngineHarness& harness = *harness_of_one;
  std::vector<std::shared_ptr<testing::RecordingSink>> sinks;
  for (uint64_t seed = 1; seed <= 8; ++seed) sinks.push_back(harness.submit(make_request(4, 100, seed)));
  while (!sinks[3]->done) harness.engine->step();
  // Each takes two seconds.
  EXPECT_NEAR(harness.engine->forecast(4, 16).queue_seconds, 8.0, 0.5);
  EXPECT_NEAR(static_cast<double>(harness.engine->retry_after_seconds()), 8.0, 1.0);
  harness.run();
}

TEST(EnginePolicy, ForecastsCountWhatPassesBetweenSteps) {
  const auto harness_of_one = one_place_with_long_steps();
  EngineHarness& harness = *harness_of_one;
  std::vector<std::shared_ptr<testing::RecordingSink>> sinks;
  for (uint64_t seed = 1; seed <= 8; ++seed) sinks.push_back(harness.submit(make_request(4, 100, seed)));
  while (!sinks[3]->done) {
    harness.engine->step();
    harness.clock->advance_ns(10'000'000);
  }
  // Each takes two seconds in steps, and one in between.
  EXPECT_NEAR(harness.engine->forecast(4, 16).queue_seconds, 12.0, 0.8);
  EXPECT_NEAR(static_cast<double>(harness.engine->retry_after_seconds()), 12.0, 1.5);
  // Nothing waited while the engine was idle.
  harness.run();
  const double idle = harness.engine->forecast(4, 16).prefill_seconds;
  harness.clock->advance_ns(60'000'000'000);
  harness.submit(make_request(4, 1, 9));
  harness.engine->step();
  EXPECT_NEAR(harness.engine->forecast(4, 16).prefill_seconds, idle, 0.1 * idle);
  harness.run();
}

// What running ones have left is told by their age, not by the mean: here they have outlasted most.
TEST(EnginePolicy, ForecastsKnowThatOldOutputsGoOn) {
  const auto harness_of_one = one_place_with_long_steps();
  EngineHarness& harness = *harness_of_one;
  uint64_t num_tokens = 0;
  const auto generate = [&](uint64_t num_more) {
    num_tokens += num_more;
    while (harness.engine->stats().generation_tokens < num_tokens) harness.engine->step();
  };
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    harness.submit(make_request(4, 100, seed));
    generate(seed % 8 == 0 ? 80 : 10);
    harness.engine->cancel(harness.last_id);  // an end that its limit did not cause
    harness.run();
  }
  num_tokens = harness.engine->stats().generation_tokens;
  harness.submit(make_request(4, 100, 50));
  const uint64_t before = num_tokens;
  const auto seconds_at = [&](uint64_t age) {
    generate(before + age - num_tokens);
    return harness.engine->forecast(4, 16).queue_seconds;
  };
  // 20 ms a token: 18.75 in all on average, the longer ones 80.
  EXPECT_NEAR(seconds_at(1), 0.02 * 17.75, 0.1);
  EXPECT_NEAR(seconds_at(20), 0.02 * 60, 0.2);
  EXPECT_NEAR(seconds_at(60), 0.02 * 20, 0.2);
  harness.run();
}

TEST(EnginePolicy, ForecastsKnowWhoTakesAPlace) {
  for (const std::string_view policy : {"fcfs", "mlfq"}) {
    const auto harness = make_harness(policy, 1);
    harness->submit(make_request(200, 50, 1));
    harness->engine->step();  // computes its prompt
    const double seconds = harness->engine->forecast(10, 16).queue_seconds;
    // 50 tokens of a millisecond, unless its prompt is given up for the short one.
    EXPECT_NEAR(seconds, policy == "mlfq" ? 0.0 : 0.05, 0.001) << policy;
    harness->run();
  }
}

TEST(EnginePolicy, ForecastsCountEachSequenceOfARequest) {
  const auto seconds_behind = [](int32_t num_sequences) {
    const auto harness = make_harness("fcfs", 4);
    harness->submit(make_request(200, 50, 1));
    harness->submit(make_request(200, 50, 2));
    harness->submit(make_request(200, 50, 3));
    harness->submit(make_request(200, 50, 4));
    Request several = make_request(10, 50, 5);
    several.num_sequences = num_sequences;
    harness->submit(several);
    harness->engine->step();
    const double seconds = harness->engine->forecast(10, 16).queue_seconds;
    harness->run();
    return seconds;
  };
  // 50 tokens of a millisecond, and as much for the pass.
  EXPECT_NEAR(seconds_behind(3) - seconds_behind(1), 2 * 50 * 0.001, 0.03);
}

TEST(EnginePolicy, ParkedRequestsLeaveTheQueueUntilTheyAreResumed) {
  for (const std::string_view policy : scheduler_policy_names()) {
    const auto harness = make_harness(policy, 1);
    std::vector sinks = {harness->submit(make_request(10, 30, 1))};
    harness->engine->step();
    sinks.push_back(harness->submit(make_request(10, 2, 2)));
    const RequestId parked = harness->last_id;
    harness->engine->park(parked);
    sinks.push_back(harness->submit(make_request(12, 2, 3)));
    for (int i = 0; i < 60; ++i) harness->engine->step();
    EXPECT_TRUE(sinks[2]->done) << policy;
    EXPECT_FALSE(sinks[1]->done) << policy;
    EXPECT_EQ(harness->engine->stats().num_parked, 1);
    harness->engine->resume(parked);
    run(*harness, sinks);
    EXPECT_TRUE(sinks[1]->done) << policy;
  }
}

// Places and pages for a few, arrivals and cancellations at any time: whatever is preempted, outputs are what
// each request gives alone.
TEST(EnginePolicy, OutputsAreTheSameUnderRandomArrivalsOfEveryPolicy) {
  for (const std::string_view policy : scheduler_policy_names()) {
    const auto harness = make_harness(policy, 3, 24);
    std::mt19937 random(5);
    const auto below = [&](uint32_t bound) { return static_cast<int32_t>(random() % bound); };
    std::vector<Request> requests;
    std::vector<std::shared_ptr<testing::RecordingSink>> sinks;
    std::vector<bool> cancelled;
    for (int i = 0; i < 60; ++i) {
      Request request = make_request(1 + below(100), 1 + below(40), static_cast<uint64_t>(1 + below(20)));
      request.priority = below(3);
      request.client = static_cast<uint64_t>(below(3));
      request.num_sequences = 1 + below(2);
      requests.push_back(request);
      sinks.push_back(harness->submit(request));
      cancelled.push_back(below(8) == 0);
      for (int steps = below(6); steps > 0; --steps) {
        harness->engine->step();
        harness->engine->check_invariants();
        harness->clock->advance_ns(5'000'000);
      }
      if (cancelled.back()) harness->engine->cancel(harness->last_id);
    }
    harness->run();
    for (size_t i = 0; i < requests.size(); ++i) {
      ASSERT_TRUE(sinks[i]->done) << policy;
      if (cancelled[i]) continue;
      for (int32_t index = 0; index < requests[i].num_sequences; ++index)
        expect_output(sinks[i]->outputs[static_cast<size_t>(index)], harness->expected(requests[i], index));
    }
    if (policy != "fcfs" && policy != "lpm") {
      EXPECT_GE(harness->engine->stats().num_preemptions, 1u) << policy;
    }
  }
}

}  // namespace
}  // namespace pagoda
