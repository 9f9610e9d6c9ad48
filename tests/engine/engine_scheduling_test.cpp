// Who is served when: batching, order, preemption, cancellation, limits.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/engine_harness.h"

namespace pagoda {
namespace {

using testing::EngineHarness;
using testing::expect_output;
using testing::small_config;

Request make_request(int32_t prompt_length, int64_t max_tokens, uint64_t seed = 1) {
  std::vector<int32_t> prompt;
  for (int32_t i = 0; i < prompt_length; ++i) prompt.push_back(4 + static_cast<int32_t>(seed + 5 * i) % 60);
  return {.prompt = prompt, .sampling = {.seed = seed}, .max_tokens = max_tokens, .ignore_eos = true};
}

// Number of tokens of each sequence in each step.
struct BatchLog {
  std::vector<std::vector<int32_t>> steps;
  std::function<void(const ForwardBatch&)> hook() {
    return [this](const ForwardBatch& batch) {
      auto& step = steps.emplace_back();
      for (const SequenceSlice& slice : batch.sequences) step.push_back(slice.num_tokens);
    };
  }
};

using ::testing::ElementsAre;

TEST(EngineScheduling, DecodesAreNeverHeldUpByALongPrompt) {
  BatchLog log;
  EngineHarness harness(small_config(), {.on_forward = log.hook()});
  const auto first = harness.submit(make_request(4, 20));
  harness.engine->step();
  const auto second = harness.submit(make_request(200, 5, 2));
  harness.run();
  // Six chunks of 31 and the rest, each with one token of the first sequence.
  ASSERT_GT(log.steps.size(), 8u);
  for (size_t step = 1; step <= 6; ++step) EXPECT_THAT(log.steps[step], ElementsAre(1, 31)) << step;
  EXPECT_THAT(log.steps[7], ElementsAre(1, 14));
  EXPECT_THAT(log.steps[8], ElementsAre(1, 1));
  EXPECT_EQ(second->outputs[0].tokens.size(), 5u);
  EXPECT_EQ(first->outputs[0].tokens.size(), 20u);
}

TEST(EngineScheduling, SeveralPromptsShareAStep) {
  BatchLog log;
  EngineHarness harness(small_config(), {.on_forward = log.hook()});
  for (uint64_t seed = 1; seed <= 4; ++seed) harness.submit(make_request(10, 2, seed));
  harness.run();
  EXPECT_THAT(log.steps[0], ElementsAre(10, 10, 10, 2));
  EXPECT_THAT(log.steps[1], ElementsAre(1, 1, 1, 8));
}

TEST(EngineScheduling, FirstComeFirstServed) {
  EngineConfig config = small_config();
  config.max_sequences = 2;
  EngineHarness harness(config);
  std::vector<std::shared_ptr<testing::RecordingSink>> sinks;
  // Lengths chosen so that a shortest-first order would differ.
  for (const int32_t length : {60, 50, 40, 3, 2, 1})
    sinks.push_back(harness.submit(make_request(length, 4, static_cast<uint64_t>(length))));
  std::vector<size_t> order;
  while (harness.engine->step()) {
    for (size_t i = 0; i < sinks.size(); ++i)
      if (sinks[i]->num_updates > 0 && std::ranges::find(order, i) == order.end()) order.push_back(i);
  }
  EXPECT_THAT(order, ElementsAre(0, 1, 2, 3, 4, 5));
}

TEST(EngineScheduling, PreemptedSequencesGiveTheSameOutput) {
  EngineConfig config = small_config();
  config.num_pages = 12;
  EngineHarness harness(config);
  std::vector<Request> requests;
  std::vector<std::shared_ptr<testing::RecordingSink>> sinks;
  for (uint64_t seed = 1; seed <= 6; ++seed) requests.push_back(make_request(20, 100, seed));
  for (const Request& request : requests) sinks.push_back(harness.submit(request));
  harness.run();
  EXPECT_GT(harness.engine->stats().num_preemptions, 0u);
  int32_t num_preemptions = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    expect_output(sinks[i]->outputs[0], harness.expected(requests[i]));
    num_preemptions += sinks[i]->timings.num_preemptions;
  }
  EXPECT_EQ(static_cast<uint64_t>(num_preemptions), harness.engine->stats().num_preemptions);
  EXPECT_EQ(sinks[0]->timings.num_preemptions, 0) << "the first to come is never preempted";
}

TEST(EngineScheduling, PreemptedForksGiveTheSameOutput) {
  EngineConfig config = small_config();
  config.num_pages = 14;
  EngineHarness harness(config);
  Request request = make_request(40, 100);
  request.num_sequences = 4;
  const auto sink = harness.submit(request);
  harness.run();
  EXPECT_GT(sink->timings.num_preemptions, 0);
  for (int32_t index = 0; index < 4; ++index)
    expect_output(sink->outputs[static_cast<size_t>(index)], harness.expected(request, index));
}

TEST(EngineScheduling, ASequenceTooBigForThePoolEndsWithLength) {
  EngineConfig config = small_config();
  config.num_pages = 3;
  EngineHarness harness(config);
  const auto sink = harness.submit(make_request(20, 200));
  const auto next = harness.submit(make_request(20, 5));
  harness.run();
  // 48 positions in the cache; the token after them needs no place any more.
  EXPECT_EQ(sink->outputs[0].tokens.size(), 48u - 20u + 1u);
  EXPECT_EQ(sink->outputs[0].finish, FinishReason::length);
  EXPECT_TRUE(sink->status);
  EXPECT_EQ(next->outputs[0].tokens.size(), 5u);
}

TEST(EngineScheduling, CancelFreesThePagesWithinAStep) {
  EngineHarness harness;
  const auto sink = harness.submit(make_request(40, 100));
  const RequestId id = harness.last_id;
  for (int i = 0; i < 5; ++i) harness.engine->step();
  EXPECT_GT(harness.engine->stats().kv_pages_used, 0);
  harness.engine->cancel(id);
  EXPECT_TRUE(harness.engine->step());
  harness.expect_idle();
  ASSERT_TRUE(sink->done);
  ASSERT_FALSE(sink->status);
  EXPECT_EQ(sink->status.error().code, ErrorCode::cancelled);
  EXPECT_EQ(sink->outputs[0].finish, FinishReason::cancelled);
  EXPECT_EQ(harness.engine->stats().finished_abort, 1u);
  harness.engine->cancel(id);
  harness.engine->cancel(12345);
  EXPECT_FALSE(harness.engine->step()) << "unknown ids are ignored";
}

TEST(EngineScheduling, CancelAtAnyMoment) {
  for (int num_steps = 0; num_steps < 12; ++num_steps) {
    EngineHarness harness;
    Request request = make_request(70, 4);
    request.num_sequences = 3;
    const auto cancelled = harness.submit(request);
    const RequestId id = harness.last_id;
    const Request other = make_request(10, 12, 7);
    const auto sink = harness.submit(other);
    for (int i = 0; i < num_steps; ++i) harness.engine->step();
    harness.engine->cancel(id);
    harness.run();
    EXPECT_TRUE(cancelled->done);
    expect_output(sink->outputs[0], harness.expected(other));
  }
}

TEST(EngineScheduling, CancelFromWithinASink) {
  struct CancellingSink final : RequestSink {
    void on_update(const SequenceUpdate&) override { engine->cancel(id); }
    void on_prompt_logprobs(std::span<const TokenEvent>) override {}
    void on_done(const RequestTimings&, const Status& end) override { status = end; }
    Engine* engine = nullptr;
    RequestId id = 0;
    Status status;
  };
  EngineHarness harness;
  const auto sink = std::make_shared<CancellingSink>();
  sink->engine = harness.engine.get();
  sink->id = *harness.engine->submit(make_request(5, 1000), sink);
  EXPECT_EQ(harness.run(), 2);
  ASSERT_FALSE(sink->status);
  EXPECT_EQ(sink->status.error().code, ErrorCode::cancelled);
}

TEST(EngineScheduling, VanishedSinksAreKeptUntilTheEnd) {
  EngineHarness harness;
  std::vector<std::weak_ptr<testing::RecordingSink>> sinks;
  for (uint64_t seed = 1; seed <= 8; ++seed) sinks.push_back(harness.submit(make_request(10, 20, seed)));
  harness.engine->step();
  for (const auto& sink : sinks) EXPECT_FALSE(sink.expired());
  harness.run();
  for (const auto& sink : sinks) EXPECT_TRUE(sink.expired()) << "released with the request";
}

TEST(EngineScheduling, OverloadIsRefused) {
  EngineConfig config = small_config();
  config.max_sequences = 2;
  config.max_queued_requests = 3;
  EngineHarness harness(config);
  std::vector<std::shared_ptr<testing::RecordingSink>> sinks;
  for (int i = 0; i < 5; ++i) sinks.push_back(harness.submit(make_request(5, 3)));
  const auto refused = harness.engine->submit(make_request(5, 3), std::make_shared<testing::RecordingSink>());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::overloaded);
  EXPECT_EQ(harness.engine->stats().rejected_queue_full, 1u);
  EXPECT_GE(harness.engine->retry_after_seconds(), 1);
  harness.engine->step();
  EXPECT_EQ(harness.engine->stats().num_waiting, 3);
  harness.run();
  for (const auto& sink : sinks) EXPECT_TRUE(sink->status);
  harness.submit(make_request(5, 3));
  harness.run();
}

TEST(EngineScheduling, BadRequestsAreRefusedAtTheDoor) {
  EngineHarness harness;
  const auto refused =
      harness.engine->submit(make_request(300, 3), std::make_shared<testing::RecordingSink>());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(refused.error().message,
              ::testing::AllOf(::testing::HasSubstr("300"), ::testing::HasSubstr("256")));
  EXPECT_FALSE(harness.engine->step());
}

TEST(EngineScheduling, DrainFinishesWhatRuns) {
  EngineHarness harness;
  const auto sink = harness.submit(make_request(5, 30));
  harness.engine->drain(INT64_MAX);
  EXPECT_TRUE(sink->status);
  EXPECT_EQ(sink->outputs[0].tokens.size(), 30u);
  const auto refused = harness.engine->submit(make_request(5, 3), std::make_shared<testing::RecordingSink>());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::overloaded);
}

TEST(EngineScheduling, DrainCancelsAfterTheDeadline) {
  EngineHarness* running = nullptr;
  EngineHarness harness(small_config(),
                        {.on_forward = [&](const ForwardBatch&) { running->clock->advance_ns(1000); }});
  running = &harness;
  const auto sink = harness.submit(make_request(5, 200));
  harness.engine->drain(10'000);
  ASSERT_TRUE(sink->done);
  ASSERT_FALSE(sink->status);
  EXPECT_EQ(sink->status.error().code, ErrorCode::cancelled);
  EXPECT_EQ(sink->outputs[0].tokens.size(), 10u);
  harness.expect_idle();
}

TEST(EngineScheduling, DestructionCancels) {
  std::shared_ptr<testing::RecordingSink> running;
  std::shared_ptr<testing::RecordingSink> unseen;
  {
    EngineHarness harness;
    running = harness.submit(make_request(5, 200));
    harness.engine->step();
    unseen = harness.submit(make_request(5, 200));
  }
  for (const auto& sink : {running, unseen}) {
    ASSERT_TRUE(sink->done);
    EXPECT_EQ(sink->status.error().code, ErrorCode::cancelled);
  }
}

TEST(EngineScheduling, TimesComeFromTheClock) {
  EngineHarness* running = nullptr;
  EngineHarness harness(small_config(),
                        {.on_forward = [&](const ForwardBatch&) { running->clock->advance_ns(1000); }});
  running = &harness;
  const auto sink = harness.submit(make_request(40, 5));
  harness.clock->advance_ns(500);
  while (harness.engine->step()) {
  }
  EXPECT_EQ(sink->timings.queued_ns, 500);
  EXPECT_EQ(sink->timings.prefill_ns, 2000);
  EXPECT_EQ(sink->timings.decode_ns, 4000);
}

}  // namespace
}  // namespace pagoda
