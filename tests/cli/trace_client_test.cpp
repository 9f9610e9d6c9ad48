// Traces replayed against a real server over the fake model.
#include <gtest/gtest.h>
#include <boost/json.hpp>

#include "cli/trace/trace_client.h"
#include "server/server_fixture.h"

namespace pagoda {
namespace {

constexpr int64_t kMillisecond = 1'000'000;
constexpr TokenRange kIds = {10, 500};

class TraceClientTest : public testing::ServerFixture {
 protected:
  ReplayOptions replay_options() const {
    return {.url = "http://127.0.0.1:" + std::to_string(port()) + "/v1", .ids = kIds, .timeout_seconds = 60};
  }
  static Trace make_trace(size_t num_requests, int64_t gap_ns) {
    Trace trace{.header = "{\"trace\": \"test\"}"};
    for (size_t i = 0; i < num_requests; ++i)
      trace.requests.push_back({.arrival_ns = static_cast<int64_t>(i) * gap_ns,
                                .num_prompt_tokens = 40 + static_cast<int64_t>(i),
                                .num_output_tokens = 3 + static_cast<int64_t>(i)});
    return trace;
  }
};

TEST_F(TraceClientTest, EveryRequestGetsItsTokens) {
  start();
  const Trace trace = make_trace(20, kMillisecond);
  double progress = 0;
  ReplayOptions replay = replay_options();
  replay.on_progress = [&](double fraction) { progress = fraction; };
  const auto outcomes = replay_trace(trace, replay);
  ASSERT_TRUE(outcomes) << outcomes.error().message;
  ASSERT_EQ(outcomes->size(), 20u);
  for (size_t i = 0; i < 20; ++i) {
    const TraceOutcome& outcome = (*outcomes)[i];
    EXPECT_EQ(outcome.error, "");
    EXPECT_EQ(outcome.num_output_tokens, 3 + static_cast<int64_t>(i));
    EXPECT_GT(outcome.first_token_ns, outcome.arrival_ns);
    EXPECT_GE(outcome.end_ns, outcome.first_token_ns);
  }
  EXPECT_DOUBLE_EQ(progress, 1);
  EXPECT_EQ(model->engine->stats().prompt_tokens, 20u * 40 + 19 * 20 / 2);
}

TEST_F(TraceClientTest, RequestsComeWhenTheTraceSays) {
  start();
  const auto outcomes = replay_trace(make_trace(3, 50 * kMillisecond), replay_options());
  ASSERT_TRUE(outcomes);
  for (size_t i = 1; i < 3; ++i) {
    EXPECT_EQ((*outcomes)[i].arrival_ns - (*outcomes)[i - 1].arrival_ns, 50 * kMillisecond);
    EXPECT_GT((*outcomes)[i].first_token_ns, (*outcomes)[i].arrival_ns);
  }
}

TEST_F(TraceClientTest, ClientsAskOneAfterTheOther) {
  start();
  ReplayOptions replay = replay_options();
  replay.num_clients = 1;
  // Arrivals an hour apart do not count then.
  const auto outcomes = replay_trace(make_trace(4, 3600'000 * kMillisecond), replay);
  ASSERT_TRUE(outcomes);
  for (size_t i = 1; i < 4; ++i) EXPECT_GE((*outcomes)[i].arrival_ns, (*outcomes)[i - 1].end_ns);
}

TEST_F(TraceClientTest, SharedPrefixesAreCached) {
  start();
  Trace trace = make_trace(2, 0);
  for (TraceRequest& request : trace.requests) request.prefix = {{"system", 32}};
  ReplayOptions replay = replay_options();
  replay.num_clients = 1;
  const auto outcomes = replay_trace(trace, replay);
  ASSERT_TRUE(outcomes);
  EXPECT_EQ((*outcomes)[0].num_cached_tokens, 0);
  EXPECT_EQ((*outcomes)[1].num_cached_tokens, 32);
  replay.salt = "another";
  const auto salted = replay_trace(trace, replay);
  ASSERT_TRUE(salted);
  EXPECT_EQ((*salted)[0].num_cached_tokens, 0);
}

TEST_F(TraceClientTest, RefusalsAreOutcomes) {
  engine_config.max_sequences = 1;
  engine_config.max_queued_requests = 1;
  start();
  gate.close();
  ReplayOptions replay = replay_options();
  replay.on_progress = [&](double fraction) {
    if (fraction >= 0.5) gate.open();  // when both refusals have come
  };
  const auto outcomes = replay_trace(make_trace(4, 0), replay);
  ASSERT_TRUE(outcomes);
  EXPECT_EQ(std::ranges::count(*outcomes, "HTTP 429", &TraceOutcome::error), 2);
  EXPECT_EQ(std::ranges::count(*outcomes, "", &TraceOutcome::error), 2);
}

TEST_F(TraceClientTest, ServerThatIsNotThereIsAnError) {
  ReplayOptions replay{.url = "http://127.0.0.1:1/v1", .ids = kIds, .timeout_seconds = 5};
  const auto outcomes = replay_trace(make_trace(1, 0), replay);
  ASSERT_FALSE(outcomes);
  EXPECT_EQ(outcomes.error().code, ErrorCode::io);
  EXPECT_NE(outcomes.error().message.find("is the server running?"), std::string::npos);
}

}  // namespace
}  // namespace pagoda
