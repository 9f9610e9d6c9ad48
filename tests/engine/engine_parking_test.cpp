// Requests whose clients do not read: they give up pages and places, and miss nothing when they come back.
#include <gtest/gtest.h>

#include "support/engine_harness.h"

namespace pagoda {
namespace {

using testing::EngineHarness;
using testing::expect_output;
using testing::small_config;

Request make_request(int64_t max_tokens, int32_t num_sequences = 1, uint64_t seed = 1) {
  return {.prompt = {4, 9, 14, 19, 24},
          .sampling = {.seed = seed},
          .num_sequences = num_sequences,
          .max_tokens = max_tokens,
          .ignore_eos = true};
}

TEST(EngineParking, AParkedRequestHoldsNothingAndComputesNothing) {
  EngineHarness harness;
  const auto sink = harness.submit(make_request(40));
  for (int i = 0; i < 10; ++i) harness.engine->step();
  harness.engine->park(harness.last_id);
  EXPECT_FALSE(harness.engine->step()) << "nothing to do";
  const EngineStats stats = harness.engine->stats();
  EXPECT_EQ(stats.num_parked, 1);
  EXPECT_EQ(stats.num_waiting, 1);
  EXPECT_EQ(stats.num_running, 0);
  EXPECT_EQ(stats.kv_pages_used, 0);
  EXPECT_EQ(sink->outputs[0].tokens.size(), 10u);
  harness.engine->resume(harness.last_id);
  harness.run();
  expect_output(sink->outputs[0], harness.expected(make_request(40)));
  EXPECT_EQ(sink->timings.num_preemptions, 0) << "it was not for lack of pages";
}

TEST(EngineParking, OthersTakeItsPlaceAndAreNotDisturbed) {
  EngineConfig config = small_config();
  config.max_sequences = 2;
  EngineHarness harness(config);
  const auto parked = harness.submit(make_request(40, 2, 3));
  const RequestId id = harness.last_id;
  for (int i = 0; i < 5; ++i) harness.engine->step();
  harness.engine->park(id);
  const auto other = harness.submit(make_request(30, 2, 5));
  while (harness.engine->step()) harness.engine->check_invariants();
  EXPECT_TRUE(other->done);
  EXPECT_FALSE(parked->done);
  harness.engine->resume(id);
  harness.run();
  for (int32_t index = 0; index < 2; ++index) {
    const auto at = static_cast<size_t>(index);
    expect_output(other->outputs[at], harness.expected(make_request(30, 2, 5), index));
    expect_output(parked->outputs[at], harness.expected(make_request(40, 2, 3), index));
  }
}

TEST(EngineParking, ChangesOfOneStepApplyInOrder) {
  EngineHarness harness;
  const auto sink = harness.submit(make_request(10));
  const RequestId id = harness.last_id;
  harness.engine->park(id);
  harness.engine->resume(id);
  harness.engine->park(id + 1);  // nobody
  harness.run();
  expect_output(sink->outputs[0], harness.expected(make_request(10)));
}

TEST(EngineParking, OneThatWaitsMayBeParkedAndCancelled) {
  EngineConfig config = small_config();
  config.max_sequences = 1;
  EngineHarness harness(config);
  const auto running = harness.submit(make_request(20));
  const auto parked = harness.submit(make_request(20));
  const RequestId id = harness.last_id;
  harness.engine->step();
  harness.engine->park(id);
  while (harness.engine->step()) {
  }
  EXPECT_TRUE(running->done);
  EXPECT_FALSE(parked->done);
  harness.engine->cancel(id);
  harness.run();
  ASSERT_TRUE(parked->done);
  EXPECT_EQ(parked->status.error().code, ErrorCode::cancelled);
}

TEST(EngineQueue, PromptsThatWaitAreBoundedButOneMayAlwaysWait) {
  EngineConfig config = small_config();
  config.max_sequences = 1;
  config.max_queued_tokens = 12;
  EngineHarness harness(config);
  const auto submit = [&] {
    return harness.engine->submit(make_request(3), std::make_shared<testing::RecordingSink>());
  };
  Request long_one = make_request(3);
  long_one.prompt.assign(50, 7);
  harness.submit(long_one);
  EXPECT_EQ(submit().error().code, ErrorCode::overloaded) << "50 tokens wait";
  harness.engine->step();
  EXPECT_TRUE(submit());
  EXPECT_TRUE(submit());
  EXPECT_EQ(submit().error().code, ErrorCode::overloaded) << "10 of 12 wait";
  EXPECT_EQ(harness.engine->stats().rejected_queued_tokens, 2u);
  const RequestId last = harness.last_id + 2;
  harness.engine->cancel(last);
  harness.engine->step();
  EXPECT_TRUE(submit()) << "what is cancelled waits no longer";
  harness.run();
}

}  // namespace
}  // namespace pagoda
