#include "engine/stats_board.h"

#include <algorithm>
#include <numeric>

#include <gtest/gtest.h>

#include "support/sequence_factory.h"

namespace pagoda {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

uint64_t count(const HistogramData& histogram) {
  return std::accumulate(histogram.counts.begin(), histogram.counts.end(), uint64_t{0});
}

TEST(Histogram, BoundsAreInclusive) {
  HistogramData histogram{.bounds = {1, 2}, .counts = {0, 0, 0}};
  for (const double value : {0.5, 1.0, 1.5, 2.0, 3.0}) histogram.observe(value);
  EXPECT_EQ(histogram.counts, (std::vector<uint64_t>{2, 2, 1}));
  EXPECT_DOUBLE_EQ(histogram.sum, 8.0);
}

class StatsBoardTest : public ::testing::Test {
 protected:
  testing::SequenceFactory factory_;
  StatsBoard board_{EngineConfig{.max_context = 1000, .num_pages = 8}};
};

TEST_F(StatsBoardTest, BucketEdgesAreThoseOfVllm) {
  const EngineStats stats = board_.snapshot();
  EXPECT_EQ(stats.time_to_first_token.bounds.front(), 0.001);
  EXPECT_EQ(stats.time_to_first_token.bounds.back(), 2560);
  EXPECT_EQ(stats.time_to_first_token.bounds.size(), 22u);
  EXPECT_EQ(stats.inter_token_latency.bounds.front(), 0.01);
  EXPECT_EQ(stats.inter_token_latency.bounds.back(), 80);
  EXPECT_EQ(stats.e2e_latency.bounds.front(), 0.3);
  EXPECT_EQ(stats.e2e_latency.bounds.back(), 7680);
  EXPECT_EQ(stats.request_prompt_tokens.bounds,
            (std::vector<double>{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000}));
  for (const HistogramData* histogram : {&stats.time_to_first_token, &stats.e2e_latency, &stats.request_n,
                                         &stats.iteration_tokens, &stats.request_max_tokens}) {
    EXPECT_EQ(histogram->counts.size(), histogram->bounds.size() + 1);
    EXPECT_TRUE(std::ranges::is_sorted(histogram->bounds));
  }
}

TEST_F(StatsBoardTest, IntervalsOfARequest) {
  auto request = factory_.make_request({.num_prompt = 7, .max_tokens = 3});
  Sequence& sequence = request->leader();
  request->arrival_ns = 1 * kSecond;
  request->first_scheduled_ns = 3 * kSecond;
  for (const int64_t now : {7 * kSecond, 8 * kSecond, 10 * kSecond}) {
    board_.record_token(sequence, now);
    sequence.output.push({.token = 5});
    if (request->first_token_ns < 0) request->first_token_ns = sequence.first_token_ns = now;
    request->last_token_ns = sequence.last_token_ns = now;
  }
  board_.record_sequence_end(sequence);
  board_.record_request_end(*request, 11 * kSecond);
  const RequestTimings timings = timings_of(*request);
  EXPECT_EQ(timings.queued_ns, 2 * kSecond);
  EXPECT_EQ(timings.prefill_ns, 4 * kSecond);
  EXPECT_EQ(timings.decode_ns, 3 * kSecond);
  EXPECT_EQ(timings.num_prompt_tokens, 7);
  EXPECT_EQ(timings.num_generated_tokens, 3);
  const EngineStats stats = board_.snapshot();
  EXPECT_DOUBLE_EQ(stats.time_to_first_token.sum, 6.0);
  EXPECT_DOUBLE_EQ(stats.inter_token_latency.sum, 3.0);
  EXPECT_EQ(count(stats.inter_token_latency), 2u);
  EXPECT_DOUBLE_EQ(stats.request_time_per_output_token.sum, 1.5);
  EXPECT_DOUBLE_EQ(stats.e2e_latency.sum, 10.0);
  EXPECT_DOUBLE_EQ(stats.queue_time.sum, 2.0);
  EXPECT_DOUBLE_EQ(stats.prefill_time.sum, 4.0);
  EXPECT_DOUBLE_EQ(stats.decode_time.sum, 3.0);
  EXPECT_DOUBLE_EQ(stats.inference_time.sum, 7.0);
  EXPECT_EQ(stats.generation_tokens, 3u);
  EXPECT_EQ(stats.finished_length, 1u);
}

TEST_F(StatsBoardTest, FailedRequestsStayOutOfTheLatencies) {
  auto request = factory_.make_request({});
  request->status = fail(ErrorCode::cancelled, "gone");
  board_.record_request_end(*request, kSecond);
  EXPECT_EQ(count(board_.snapshot().e2e_latency), 0u);
}

TEST_F(StatsBoardTest, GaugesAndSteps) {
  board_.record_step(
      {.num_running = 2, .num_waiting = 3, .kv_pages_used = 4, .num_tokens = 10, .num_preemptions = 1});
  board_.record_step({.num_running = 1, .num_waiting = 0, .kv_pages_used = 2, .num_preemptions = 1});
  board_.record_corruption();
  const EngineStats stats = board_.snapshot();
  EXPECT_EQ(stats.num_running, 1);
  EXPECT_EQ(stats.num_waiting, 0);
  EXPECT_EQ(stats.kv_pages_total, 8);
  EXPECT_DOUBLE_EQ(stats.kv_usage, 0.25);
  EXPECT_EQ(stats.num_steps, 1u);
  EXPECT_EQ(stats.num_preemptions, 1u);
  EXPECT_EQ(stats.corrupted_requests, 1u);
}

}  // namespace
}  // namespace pagoda
