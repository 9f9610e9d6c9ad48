// Traces replayed against a real server over the fake model.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <thread>

#include <gtest/gtest.h>
#include <boost/json.hpp>

#include "base/check.h"
#include "cli/trace/trace_client.h"
#include "server/server_fixture.h"

namespace pagoda {
namespace {

constexpr int64_t kMillisecond = 1'000'000;
constexpr TokenRange kIds = {10, 500};

// Answers completions with one token at once, and forecasts as told.
class StubServer {
 public:
  struct Script {
    std::vector<double> ttft_seconds;  // of one forecast after the other
    size_t slow_forecast = 0;
    std::chrono::milliseconds delay{};
  };

  explicit StubServer(Script script) : script_(std::move(script)), socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    PAGODA_CHECK(bind(socket_, generic, size) == 0 && listen(socket_, 16) == 0);
    PAGODA_CHECK(getsockname(socket_, generic, &size) == 0);
    url_ = fmt::format("http://127.0.0.1:{}/v1", ntohs(address.sin_port));
    thread_ = std::thread([this] { accept_all(); });
  }
  ~StubServer() {
    shutdown(socket_, SHUT_RDWR);
    thread_.join();
    for (std::thread& thread : connections_) thread.join();
    close(socket_);
  }
  StubServer(const StubServer&) = delete;
  StubServer& operator=(const StubServer&) = delete;
  const std::string& url() const { return url_; }

 private:
  void accept_all() {
    for (int connection; (connection = accept(socket_, nullptr, nullptr)) >= 0;)
      connections_.emplace_back([this, connection] { answer(connection); });
  }

  // One request a connection.
  void answer(int connection) {
    std::string request;
    std::array<char, 4096> bytes{};
    while (!is_whole(request)) {
      const ssize_t count = recv(connection, bytes.data(), bytes.size(), 0);
      if (count <= 0) break;
      request.append(bytes.data(), static_cast<size_t>(count));
    }
    std::string body = R"(data: {"choices":[{"text":"a"}],"usage":{"completion_tokens":1}})";
    if (request.starts_with("POST /v1/predict ")) {
      const size_t index = num_forecasts_++;
      if (index == script_.slow_forecast) std::this_thread::sleep_for(script_.delay);
      body = fmt::format(R"({{"ttft_seconds":{}}})", script_.ttft_seconds.at(index));
    }
    const std::string reply = fmt::format(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{}\n", body.size() + 1, body);
    send(connection, reply.data(), reply.size(), MSG_NOSIGNAL);
    close(connection);
  }
  static bool is_whole(const std::string& request) {
    constexpr std::string_view kLength = "Content-Length: ";
    const size_t head = request.find("\r\n\r\n");
    const size_t length = request.find(kLength);
    if (head == std::string::npos || length == std::string::npos) return false;
    return request.size() >= head + 4 + std::stoul(request.substr(length + kLength.size()));
  }

  const Script script_;
  const int socket_;
  std::string url_;
  std::atomic<size_t> num_forecasts_ = 0;
  std::vector<std::thread> connections_;
  std::thread thread_;  // the only one that adds to connections_
};

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

TEST_F(TraceClientTest, RequestsAreForetold) {
  start();
  const Trace trace = make_trace(4, 50 * kMillisecond);
  ReplayOptions replay = replay_options();
  replay.predict = true;
  const auto outcomes = replay_trace(trace, replay);
  ASSERT_TRUE(outcomes) << outcomes.error().message;
  int num_foretold = 0;
  for (size_t i = 0; i < trace.requests.size(); ++i) {
    EXPECT_EQ((*outcomes)[i].error, "");
    num_foretold += (*outcomes)[i].forecast_ttft_seconds > 0;
    EXPECT_EQ((*outcomes)[i].arrival_ns - (*outcomes)[0].arrival_ns,
              static_cast<int64_t>(i) * 50 * kMillisecond);
  }
  EXPECT_GT(num_foretold, 0);
  EXPECT_EQ((*replay_trace(trace, replay_options()))[0].forecast_ttft_seconds, -1) << "nobody asked";
}

TEST_F(TraceClientTest, ClientsAreForetoldToo) {
  start();
  ReplayOptions replay = replay_options();
  replay.num_clients = 1;
  replay.predict = true;
  const auto outcomes = replay_trace(make_trace(3, 0), replay);
  ASSERT_TRUE(outcomes) << outcomes.error().message;
  for (size_t i = 1; i < 3; ++i)
    EXPECT_GE((*outcomes)[i].arrival_ns, (*outcomes)[i - 1].end_ns + kPredictLeadNs);
}

TEST_F(TraceClientTest, AServerWithoutForecastsIsAnError) {
  start();
  ReplayOptions replay = replay_options();
  replay.model = "other";  // 404, as where there is no such path
  replay.predict = true;
  const auto outcomes = replay_trace(make_trace(1, 0), replay);
  ASSERT_FALSE(outcomes);
  EXPECT_EQ(outcomes.error().code, ErrorCode::io);
  EXPECT_NE(outcomes.error().message.find("/v1/predict tells no forecast (HTTP 404)"), std::string::npos)
      << outcomes.error().message;
  EXPECT_NE(outcomes.error().message.find("leave out --predict"), std::string::npos);
}

TEST_F(TraceClientTest, RequestsDoNotWaitForTheirForecasts) {
  // Its second forecast comes after 300 ms, its third at once.
  StubServer stub({.ttft_seconds = {0, 7, 8}, .slow_forecast = 1, .delay = std::chrono::milliseconds(300)});
  const ReplayOptions replay{
      .url = stub.url(), .model = "stub", .ids = kIds, .timeout_seconds = 60, .predict = true};
  const auto outcomes = replay_trace(make_trace(2, 600 * kMillisecond), replay);
  ASSERT_TRUE(outcomes) << outcomes.error().message;
  EXPECT_EQ((*outcomes)[0].error, "");
  EXPECT_LT((*outcomes)[0].ttft_seconds(), 0.25);
  EXPECT_EQ((*outcomes)[0].forecast_ttft_seconds, -1) << "it may count the request itself";
  EXPECT_EQ((*outcomes)[1].forecast_ttft_seconds, 8);
  EXPECT_EQ((*outcomes)[1].arrival_ns - (*outcomes)[0].arrival_ns, 600 * kMillisecond);
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
