// What a request hears of itself on its way, and what a step counts.
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/engine_harness.h"

namespace pagoda {
namespace {

using ::testing::ElementsAre;
using testing::EngineHarness;
using testing::RecordingSink;
using testing::small_config;

Request request_of(int32_t num_prompt, int64_t max_tokens) {
  std::vector<int32_t> prompt(static_cast<size_t>(num_prompt));
  std::iota(prompt.begin(), prompt.end(), 0);
  for (int32_t& token : prompt) token %= 60;
  return {.prompt = std::move(prompt), .sampling = {.seed = 1}, .max_tokens = max_tokens, .ignore_eos = true};
}

std::vector<int64_t> processed(const RecordingSink& sink) {
  std::vector<int64_t> counts;
  for (const PromptProgress& progress : sink.progress) counts.push_back(progress.num_processed_tokens);
  return counts;
}

TEST(EngineReports, ProgressIsToldBeforeTheFirstStepAndAfterEach) {
  EngineHarness harness;
  Request request = request_of(100, 3);
  request.report_progress = true;
  const auto cold = harness.submit(request);
  const auto silent = harness.submit(request_of(40, 3));
  harness.run();
  EXPECT_THAT(processed(*cold), ElementsAre(0, 32, 64, 96, 100));
  for (const PromptProgress& progress : cold->progress) {
    EXPECT_EQ(progress.num_prompt_tokens, 100);
    EXPECT_EQ(progress.num_cached_tokens, 0);
  }
  EXPECT_EQ(cold->progress.front().elapsed_ns, 0);
  EXPECT_GT(cold->progress.back().elapsed_ns, cold->progress[1].elapsed_ns);
  EXPECT_TRUE(silent->progress.empty());

  const auto hit = harness.submit(request);
  harness.run();
  EXPECT_THAT(processed(*hit), ElementsAre(96, 100));
  EXPECT_EQ(hit->progress.front().num_cached_tokens, 96);
}

TEST(EngineReports, ProgressNeverGoesBack) {
  EngineConfig config = small_config();
  config.num_pages = 12;
  config.prefix_cache.enabled = false;
  EngineHarness harness(config);
  std::vector<std::shared_ptr<RecordingSink>> sinks;
  for (int i = 0; i < 4; ++i) {
    Request request = request_of(40 + i, 60);
    request.report_progress = true;
    sinks.push_back(harness.submit(request));
  }
  harness.run();
  EXPECT_GT(harness.engine->stats().num_preemptions, 0u) << "the test needs some";
  for (const auto& sink : sinks) {
    const std::vector<int64_t> counts = processed(*sink);
    EXPECT_THAT(counts, ::testing::Each(::testing::Ge(0)));
    EXPECT_TRUE(std::ranges::is_sorted(counts, std::ranges::less_equal())) << "each report is news";
    EXPECT_EQ(counts.back(), sink->progress.back().num_prompt_tokens);
  }
}

TEST(EngineReports, UpdatesCarryTimingsIfAskedFor) {
  EngineHarness harness;
  Request request = request_of(20, 4);
  request.report_timings = true;
  const auto told = harness.submit(request);
  const auto silent = harness.submit(request_of(20, 4));
  harness.run();
  ASSERT_EQ(told->running_timings.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(told->running_timings[i].num_prompt_tokens, 20);
    EXPECT_EQ(told->running_timings[i].num_generated_tokens, static_cast<int64_t>(i) + 1);
  }
  EXPECT_EQ(told->running_timings.back().decode_ns, told->timings.decode_ns);
  EXPECT_LT(told->running_timings[1].decode_ns, told->timings.decode_ns);
  EXPECT_TRUE(silent->running_timings.empty());
}

// As in vLLM: over a request they add up to its prompt and its answer.
TEST(EngineReports, StepsCountPromptTokensAndSampledOnes) {
  EngineHarness harness;
  harness.submit(request_of(70, 5));
  harness.run();
  const HistogramData steps = harness.engine->stats().iteration_tokens;
  EXPECT_DOUBLE_EQ(steps.sum, 70 + 5);
  EXPECT_EQ(std::accumulate(steps.counts.begin(), steps.counts.end(), uint64_t{0}), 3u + 4u)
      << "three chunks, the last with the first token, and four more";
}

}  // namespace
}  // namespace pagoda
