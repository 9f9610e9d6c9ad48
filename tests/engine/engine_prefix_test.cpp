// The prefix cache as an engine's users meet it: the same output as without it, less to compute.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/engine_harness.h"

namespace pagoda {
namespace {

using testing::EngineHarness;
using testing::expect_output;
using testing::small_config;

Request request_of(std::vector<int32_t> prompt, int64_t max_tokens, uint64_t seed = 1) {
  return {
      .prompt = std::move(prompt), .sampling = {.seed = seed}, .max_tokens = max_tokens, .ignore_eos = true};
}

std::vector<int32_t> count(int32_t num_tokens, int32_t last = 7) {
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < num_tokens; ++i) tokens.push_back(i % 60);
  tokens.back() = last;
  return tokens;
}

// Tokens computed in all steps.
struct WorkLog {
  int64_t num_tokens = 0;
  std::function<void(const ForwardBatch&)> hook() {
    return [this](const ForwardBatch& batch) { num_tokens += std::ssize(batch.token_ids); };
  }
};

TEST(EnginePrefix, AHitGivesWhatAColdRunGives) {
  WorkLog log;
  EngineHarness harness(small_config(), {.on_forward = log.hook()});
  const Request first = request_of(count(100, 1), 10);
  const Request second = request_of(count(100, 2), 10, 2);
  const auto cold = harness.submit(first);
  harness.run();
  EXPECT_EQ(log.num_tokens, 109);
  const auto hit = harness.submit(second);
  harness.run();
  expect_output(cold->outputs[0], harness.expected(first));
  expect_output(hit->outputs[0], harness.expected(second));
  EXPECT_EQ(cold->timings.num_cached_tokens, 0);
  EXPECT_EQ(cold->timings.num_kept_tokens, 96);
  EXPECT_EQ(hit->timings.num_cached_tokens, 96);
  EXPECT_EQ(hit->timings.num_kept_tokens, 0);
  EXPECT_EQ(log.num_tokens, 109 + 13);
  EXPECT_EQ(harness.engine->stats().prompt_tokens_cached, 96u);
}

TEST(EnginePrefix, AFullHitComputesOneToken) {
  WorkLog log;
  EngineHarness harness(small_config(), {.on_forward = log.hook()});
  const Request request = request_of(count(64), 1);
  harness.submit(request);
  harness.run();
  log.num_tokens = 0;
  const auto hit = harness.submit(request);
  harness.run();
  EXPECT_EQ(log.num_tokens, 1);
  EXPECT_EQ(hit->timings.num_cached_tokens, 63);
  EXPECT_EQ(hit->timings.num_kept_tokens, 0) << "the page of the last token is in the cache already";
  expect_output(hit->outputs[0], harness.expected(request));
}

TEST(EnginePrefix, ADialogueFindsItsAnswersToo) {
  WorkLog log;
  EngineHarness harness(small_config(), {.on_forward = log.hook()});
  Request request = request_of(count(40), 30);
  const auto first = harness.submit(request);
  harness.run();
  request.prompt.insert(request.prompt.end(), first->outputs[0].tokens.begin(),
                        first->outputs[0].tokens.end());
  request.prompt.insert(request.prompt.end(), {1, 2, 3});
  log.num_tokens = 0;
  const auto second = harness.submit(request);
  harness.run();
  EXPECT_EQ(second->timings.num_cached_tokens, 64) << "40 + 30 tokens are 4 full pages";
  EXPECT_EQ(log.num_tokens, 73 - 64 + 29);
  expect_output(second->outputs[0], harness.expected(request));
}

TEST(EnginePrefix, TwoThatComeTogetherComputeTheirBeginningOnce) {
  WorkLog log;
  EngineHarness harness(small_config(), {.on_forward = log.hook()});
  const Request first = request_of(count(120, 1), 5);
  const Request second = request_of(count(120, 2), 5, 2);
  const auto a = harness.submit(first);
  const auto b = harness.submit(second);
  harness.run();
  expect_output(a->outputs[0], harness.expected(first));
  expect_output(b->outputs[0], harness.expected(second));
  EXPECT_EQ(a->timings.num_kept_tokens, 112);
  EXPECT_EQ(b->timings.num_cached_tokens, 112);
  EXPECT_EQ(b->timings.num_kept_tokens, 0) << "its last page is not full";
  EXPECT_EQ(log.num_tokens, 120 + 8 + 2 * 4);
}

TEST(EnginePrefix, TheSecondGoesOnAloneWhenTheFirstIsCancelled) {
  EngineHarness harness;
  harness.submit(request_of(count(120, 1), 5));
  const RequestId first = harness.last_id;
  const Request request = request_of(count(120, 2), 5, 2);
  const auto second = harness.submit(request);
  harness.engine->step();
  harness.engine->cancel(first);
  harness.run();
  expect_output(second->outputs[0], harness.expected(request));
  EXPECT_EQ(second->timings.num_cached_tokens, 32) << "what the first had done by then";
}

TEST(EnginePrefix, SaltsKeepTenantsApart) {
  EngineHarness harness;
  Request request = request_of(count(64), 4);
  const auto run = [&](const std::string& salt) {
    request.cache_salt = salt;
    const auto sink = harness.submit(request);
    harness.run();
    expect_output(sink->outputs[0], harness.expected(request));
    return sink->timings.num_cached_tokens;
  };
  EXPECT_EQ(run(""), 0);
  EXPECT_EQ(run("a"), 0);
  EXPECT_EQ(run("b"), 0);
  EXPECT_EQ(run("a"), 63);
  EXPECT_EQ(run(""), 63);
}

TEST(EnginePrefix, NothingIsFoundWhenItIsOff) {
  EngineConfig config = small_config();
  config.prefix_cache.enabled = false;
  EngineHarness harness(config);
  for (int i = 0; i < 2; ++i) {
    const auto sink = harness.submit(request_of(count(64), 4));
    harness.run();
    EXPECT_EQ(sink->timings.num_cached_tokens, 0);
    EXPECT_EQ(sink->timings.num_kept_tokens, 0);
  }
}

TEST(EnginePrefix, PromptLogprobsAndEmbeddingsSeeEveryToken) {
  EngineHarness harness;
  Request request = request_of(count(64), 4);
  harness.submit(request);
  harness.run();
  request.want_prompt_logprobs = true;
  const auto scored = harness.submit(request);
  harness.run();
  EXPECT_EQ(scored->prompt_logprobs.size(), 63u);
  EXPECT_EQ(scored->timings.num_cached_tokens, 0);
}

TEST(EnginePrefix, PreemptedSequencesFindWhatIsLeftOfTheirs) {
  for (const int32_t num_slots : {0, 200}) {
    EngineConfig config = small_config();
    config.num_pages = 14;
    WorkLog log;
    EngineHarness harness(config, {.on_forward = log.hook()}, num_slots);
    std::vector<Request> requests;
    std::vector<std::shared_ptr<testing::RecordingSink>> sinks;
    int64_t least_work = 0;
    for (int32_t i = 0; i < 6; ++i) {
      std::vector<int32_t> prompt = count(20);
      for (int32_t& token : prompt) token = (token * 7 + i * 11) % 60;
      requests.push_back(request_of(prompt, 100, static_cast<uint64_t>(i)));
      sinks.push_back(harness.submit(requests.back()));
      least_work += 119;
    }
    harness.run();
    for (size_t i = 0; i < requests.size(); ++i)
      expect_output(sinks[i]->outputs[0], harness.expected(requests[i]));
    const EngineStats stats = harness.engine->stats();
    EXPECT_GT(stats.num_preemptions, 0u);
    // With a store only the last, partly filled page of a preempted sequence is computed again.
    if (num_slots > 0) {
      EXPECT_LE(log.num_tokens, least_work + static_cast<int64_t>(stats.num_preemptions) * kPageTokens);
      EXPECT_GT(stats.prefix_cache.loaded_pages, 0u);
      EXPECT_EQ(stats.prefix_cache.lost_pages, 0u);
    }
  }
}

TEST(EnginePrefix, APauseCostsNothingWhileThereIsRoom) {
  WorkLog log;
  EngineHarness harness(small_config(), {.on_forward = log.hook()});
  const Request request = request_of(count(23), 60);
  const auto sink = harness.submit(request);
  const RequestId id = harness.last_id;
  for (int i = 0; i < 50; ++i) {
    harness.engine->step();
    harness.engine->park(id);
    harness.engine->step();
    harness.engine->check_invariants();
    harness.engine->resume(id);
  }
  harness.run();
  expect_output(sink->outputs[0], harness.expected(request));
  EXPECT_EQ(log.num_tokens, 23 + 60 - 1) << "no token is computed twice";
}

TEST(EnginePrefix, OthersRunWhileASequenceIsReadFromTheStore) {
  EngineConfig config = small_config();
  config.num_pages = 10;
  EngineHarness harness(config, {}, 100);
  const Request old = request_of(count(100), 3);
  harness.submit(old);
  harness.run();
  std::vector<int32_t> other(130, 9);
  harness.submit(request_of(other, 3));
  harness.run();
  EXPECT_GT(harness.engine->stats().prefix_cache.num_swapped, 0);
  harness.store->num_may_end = 0;
  const auto waiting = harness.submit(old);
  const auto running = harness.submit(request_of({1, 2, 3}, 5, 3));
  for (int i = 0; i < 8; ++i) EXPECT_TRUE(harness.engine->step());
  EXPECT_TRUE(running->done);
  EXPECT_EQ(waiting->num_updates, 0);
  harness.store->num_may_end = int64_t{1} << 60;
  harness.run();
  expect_output(waiting->outputs[0], harness.expected(old));
  EXPECT_GT(waiting->timings.num_swapped_tokens, 0);
}

TEST(EnginePrefix, ANewEngineFindsWhatTheOldOneStored) {
  const Request request = request_of(count(100), 20);
  EngineHarness before(small_config(), {}, 100);
  before.submit(request);
  before.run();
  while (before.store->num_used() < 7) before.engine->step();
  before.engine->step();
  EngineHarness after(small_config(), {}, 100, before.store);
  const auto restored = after.submit(request);
  after.run();
  EXPECT_EQ(restored->timings.num_swapped_tokens, 96);
  expect_output(restored->outputs[0], after.expected(request));
}

TEST(EnginePrefix, WhatASlowDiskGivesBackIsComputed) {
  const Request request = request_of(count(100), 10);
  EngineHarness before(small_config(), {}, 100);
  before.submit(request);
  before.run();
  while (before.store->num_used() < 6) before.engine->step();
  before.engine->step();
  for (const double read_seconds : {1e-15, 1.0}) {
    WorkLog log;
    EngineHarness after(small_config(), {.on_forward = log.hook()}, 100, before.store);
    after.store->read_seconds = read_seconds;
    const auto sink = after.submit(request);
    after.run();
    expect_output(sink->outputs[0], after.expected(request));
    const bool is_slow = read_seconds == 1.0;
    EXPECT_EQ(sink->timings.num_swapped_tokens, is_slow ? 0 : 96);
    EXPECT_EQ(sink->timings.num_cached_tokens, is_slow ? 0 : 96);
    EXPECT_EQ(log.num_tokens, is_slow ? 109 : 13);
    EXPECT_EQ(after.store->num_reads, is_slow ? 0 : 6);
  }
}

TEST(EnginePrefix, AnEngineThatEndsStoresWhatItHasNotStoredYet) {
  const Request request = request_of(count(100), 10);
  EngineHarness after(small_config(), {}, 100);
  {
    EngineHarness before(small_config(), {}, 100);
    before.store->heir = after.store;
    before.store->num_may_end = 0;
    before.submit(request);
    while (before.engine->stats().finished_length == 0) before.engine->step();
    EXPECT_EQ(before.store->num_writes, 4) << "as many as may be under way";
    before.store->num_may_end = int64_t{1} << 60;
  }
  EXPECT_EQ(after.store->num_used(), 6u) << "109 tokens with K and V are 6 full pages";
}

// One that was preempted waits behind two urgent ones, the first of which takes its pages. Gives how many
// reads have begun when it is about to run again.
int64_t num_reads_ahead(bool kv_ahead) {
  CostVector costs{};
  costs[static_cast<size_t>(CostTerm::pass)] = costs[static_cast<size_t>(CostTerm::more_tokens)] = 0.001;
  EngineConfig config = small_config();
  config.policy = "priority";
  config.max_sequences = 1;
  config.num_pages = 20;
  config.prefix_cache.awaits_returns = kv_ahead;
  EngineHarness harness(config, {}, 100, nullptr, CostModel(AttentionReach(), costs));
  harness.store->read_seconds = 1e-4;
  Request preempted = request_of(count(100), 30, 1);
  preempted.priority = 1;
  const auto sink = harness.submit(preempted);
  while (harness.store->num_used() < 6) harness.engine->step();
  const auto large = harness.submit(request_of(std::vector<int32_t>(230, 9), 2, 2));
  const auto small = harness.submit(request_of({1, 2, 3}, 20, 3));
  while (!large->done) harness.engine->step();
  EXPECT_EQ(harness.engine->stats().num_preemptions, 1u);
  EXPECT_GT(harness.engine->stats().prefix_cache.num_swapped, 0);
  while (!small->done) harness.engine->step();
  const int64_t num_reads = harness.store->num_reads;
  harness.run();
  expect_output(sink->outputs[0], harness.expected(preempted));
  EXPECT_GT(harness.store->num_reads, 0);
  EXPECT_EQ(harness.engine->stats().prefix_cache.lost_pages, 0u);
  return num_reads;
}

TEST(EnginePrefix, PagesOfAPreemptedSequenceAreReadBeforeItRuns) {
  EXPECT_GT(num_reads_ahead(true), 0);
  EXPECT_EQ(num_reads_ahead(false), 0);
}

TEST(EnginePrefix, ACancelledRestoreLeavesNothingBehind) {
  EngineConfig config = small_config();
  config.num_pages = 10;
  config.max_sequences = 2;
  EngineHarness harness(config, {}, 100);
  const Request old = request_of(count(100), 3);
  harness.submit(old);
  harness.run();
  harness.submit(request_of(std::vector<int32_t>(130, 9), 3));
  harness.run();
  harness.store->num_may_end = 0;
  for (int i = 0; i < 10; ++i) {
    harness.submit(old);
    harness.engine->step();
    harness.engine->cancel(harness.last_id);
    harness.engine->step();
    harness.engine->check_invariants();
  }
  harness.store->num_may_end = int64_t{1} << 60;
  harness.run();
  const auto again = harness.submit(old);
  harness.run();
  expect_output(again->outputs[0], harness.expected(old));
}

TEST(EnginePrefix, ForksAreRunsOfTheirOwn) {
  EngineHarness harness;
  Request request = request_of(count(50), 20);
  request.num_sequences = 4;
  for (int i = 0; i < 2; ++i) {
    const auto sink = harness.submit(request);
    harness.run();
    for (int32_t index = 0; index < 4; ++index)
      expect_output(sink->outputs[static_cast<size_t>(index)], harness.expected(request, index));
  }
}

}  // namespace
}  // namespace pagoda
