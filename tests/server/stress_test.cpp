// Many clients at once over the fake model.
#include <atomic>
#include <random>
#include <thread>

#include <boost/json.hpp>

#include "server/server_fixture.h"

namespace pagoda::testing {
namespace {

class StressTest : public ServerFixture {
 protected:
  static std::string stream_request(int number) {
    return post_request(
        "/v1/completions",
        fmt::format(R"({{"prompt":"client {}","max_tokens":60,"ignore_eos":true,"seed":{},"stream":true}})",
                    number, number));
  }
  static std::string text_of(const HttpReply& reply) {
    std::string text;
    EXPECT_TRUE(reply.body.ends_with("data: [DONE]\n\n")) << reply.status << reply.body;
    for (size_t at = 0; (at = reply.body.find("data: {", at)) != std::string::npos; at += 6) {
      const size_t end = reply.body.find("\n\n", at);
      text += parse(reply.body.substr(at + 6, end - at - 6)).at("choices").at(0).at("text").as_string();
    }
    return text;
  }
};

TEST_F(StressTest, SixtyFourStreamsAreEachWhatTheyAreAlone) {
  constexpr int kClients = 64;
  start();
  std::vector<std::string> alone;
  for (int i = 0; i < kClients; ++i) {
    HttpClient client(port());
    client.send(stream_request(i));
    alone.push_back(text_of(client.receive()));
  }
  std::vector<std::unique_ptr<HttpClient>> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(std::make_unique<HttpClient>(port()));
    clients.back()->send(stream_request(i));
  }
  for (int i = 0; i < kClients; ++i)
    EXPECT_EQ(text_of(clients[static_cast<size_t>(i)]->receive()), alone[static_cast<size_t>(i)]) << i;
  EXPECT_TRUE(engine_becomes_idle());
}

TEST_F(StressTest, ThoseWhoStayAreNotDisturbedByThoseWhoLeave) {
  constexpr int kRounds = 6;
  constexpr int kClients = 24;
  step_time = std::chrono::microseconds(200);
  start();
  std::vector<std::string> alone;
  for (int i = 0; i < kClients; i += 2) {
    HttpClient client(port());
    client.send(stream_request(i));
    alone.push_back(text_of(client.receive()));
  }
  for (int round = 0; round < kRounds; ++round) {
    std::vector<std::thread> threads;
    std::atomic<int> num_equal{0};
    for (int i = 0; i < kClients; ++i) {
      threads.emplace_back([&, i] {
        HttpClient client(port());
        client.send(stream_request(i));
        if (i % 2 == 0) {
          if (text_of(client.receive()) == alone[static_cast<size_t>(i / 2)]) ++num_equal;
        } else {
          std::mt19937 random(static_cast<unsigned>(round * kClients + i));
          std::this_thread::sleep_for(std::chrono::microseconds(random() % 15'000));
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(num_equal, kClients / 2);
    ASSERT_TRUE(engine_becomes_idle()) << "pages leaked in round " << round;
  }
}

TEST_F(StressTest, HostileRequestsLeaveTheServerAlive) {
  options.http.body_limit = 100'000;
  start();
  const std::string kBodies[] = {
      "",
      "null",
      "[]",
      "{}",
      std::string(50'000, '['),
      R"({"messages":[{"role":"user","content":")" + std::string(60'000, 'a') + "\"}]}",
      R"({"prompt":[)" + std::string(40'000, '1') + "]}",
      R"({"prompt":"a","n":1e300})",
      R"({"prompt":"a","stop":[[[[]]]]})",
      R"({"messages":[{"role":"user","content":"\ufdd0 0 \ufdd1"}],"max_tokens":1})",
      R"({"messages":{"role":"user"}})",
      R"({"prompt":"a","logit_bias":{"":1}})",
      R"({"prompt":"","max_tokens":1})",
      R"({"messages":[{"role":"user","content":"{{ 7*7 }}{% raise %}"}],"max_tokens":1})",
      R"({"prompt":"a","max_tokens":-9223372036854775808})",
      R"({"prompt":"a","seed":-9223372036854775808,"max_tokens":1})"};
  for (const char* path : {"/v1/completions", "/v1/chat/completions"})
    for (const std::string& body : kBodies) {
      const HttpReply reply = post(path, body);
      EXPECT_TRUE(reply.status == 200 || reply.status == 400) << reply.status << " " << body.substr(0, 80);
    }
  EXPECT_EQ(get("/health").status, 200);
  EXPECT_TRUE(engine_becomes_idle());
}

}  // namespace
}  // namespace pagoda::testing
