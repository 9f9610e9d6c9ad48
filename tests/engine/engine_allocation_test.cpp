// After warm-up a step allocates nothing.
#include <new>

#include <gtest/gtest.h>

#include "support/counting_new.h"
#include "support/engine_harness.h"

namespace pagoda {
namespace {

// Keeps nothing but numbers.
class CountingSink final : public RequestSink {
 public:
  void on_update(const SequenceUpdate& update) override {
    num_tokens += std::ssize(update.tokens);
    num_bytes += std::ssize(update.text);
  }
  void on_prompt_logprobs(std::span<const TokenEvent>) override {}
  void on_done(const RequestTimings&, const Status&) override { done = true; }
  int64_t num_tokens = 0;
  int64_t num_bytes = 0;
  bool done = false;
};

TEST(EngineAllocation, TheCounterCounts) {
  const int64_t before = testing::num_allocations();
  ::operator delete(::operator new(1));  // unlike new-expressions, calls may not be optimised away
  EXPECT_EQ(testing::num_allocations() - before, 1);
}

TEST(EngineAllocation, SteadyStepsAllocateNothing) {
  EngineConfig config = testing::small_config();
  config.num_threads = 2;
  config.max_context = 1000;
  config.num_pages = 600;
  testing::EngineHarness harness(config, {.max_context = 1000});
  std::vector<std::shared_ptr<CountingSink>> sinks;
  // All kinds of sampling, a request of several sequences, and one whose long prompt is still being computed.
  const SamplingParams samplings[] = {
      {.temperature = 0},
      {.num_logprobs = 5},
      {.top_k = 10, .top_p = 0.9f, .min_p = 0.01f},
      {.top_p = 0.95f, .repetition_penalty = 1.1f, .presence_penalty = 0.5f, .frequency_penalty = 0.5f},
      {.logit_bias = {{5, 2.0f}}},
  };
  for (const SamplingParams& sampling : samplings) {
    sinks.push_back(std::make_shared<CountingSink>());
    ASSERT_TRUE(harness.engine->submit({.prompt = std::vector<int32_t>(20, 5),
                                        .sampling = sampling,
                                        .num_sequences = sinks.size() == 1 ? 2 : 1,
                                        .max_tokens = 900,
                                        .min_tokens = 800,
                                        .stop = {"zzzz", "ab ab"},
                                        .stop_token_ids = {7}},
                                       sinks.back()));
  }
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(harness.engine->step());
  sinks.push_back(std::make_shared<CountingSink>());
  ASSERT_TRUE(
      harness.engine->submit({.prompt = std::vector<int32_t>(900, 6), .max_tokens = 50}, sinks.back()));
  ASSERT_TRUE(harness.engine->step());
  const int64_t before = testing::num_allocations();
  const int64_t tokens_before = sinks[0]->num_tokens;
  for (int i = 0; i < 200; ++i) harness.engine->step();
  EXPECT_EQ(testing::num_allocations() - before, 0);
  EXPECT_EQ(sinks[0]->num_tokens - tokens_before, 400);
  EXPECT_GT(sinks.back()->num_tokens, 0) << "the long prompt was computed meanwhile";
}

}  // namespace
}  // namespace pagoda
