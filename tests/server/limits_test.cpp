// Limits of keys, deadlines and what is refused for lack of room.
#include <fstream>

#include <fmt/format.h>

#include "server/admission.h"
#include "server/api_keys.h"
#include "server/server_fixture.h"
#include "support/temp_folder.h"

namespace pagoda::testing {
namespace {

using std::chrono::milliseconds;

constexpr int64_t kSecond = 1'000'000'000;
constexpr const char* kCompletions = "/v1/completions";
constexpr const char* kLong = R"({"prompt":"ab","max_tokens":1500,"ignore_eos":true,"stream":true})";
constexpr const char* kShort = R"({"prompt":"ab","max_tokens":4,"ignore_eos":true})";

TEST(Tenant, CountsWhoIsInside) {
  Tenant tenant("t", {.max_concurrent = 2});
  EXPECT_TRUE(tenant.enter());
  EXPECT_TRUE(tenant.enter());
  EXPECT_FALSE(tenant.enter());
  tenant.leave();
  EXPECT_TRUE(tenant.enter());
}

TEST(Tenant, BucketHoldsAMinuteAndFillsEvenly) {
  Tenant tenant("t", {.tokens_per_minute = 600});
  EXPECT_EQ(tenant.take_prompt(600, 0), 0);
  EXPECT_EQ(tenant.take_prompt(10, 0), kSecond) << "10 tokens a second";
  EXPECT_GT(tenant.take_prompt(10, kSecond - 1), 0);
  EXPECT_EQ(tenant.take_prompt(10, kSecond), 0);
  tenant.take_generated(50);
  EXPECT_EQ(tenant.take_prompt(10, kSecond), 6 * kSecond) << "a debt of 50 is paid first";
  EXPECT_EQ(tenant.take_prompt(10, 7 * kSecond), 0);
  tenant.give_back(10);
  EXPECT_EQ(tenant.take_prompt(10, 7 * kSecond), 0);
}

TEST(Tenant, APromptBeyondTheBucketWaitsForAFullOne) {
  Tenant tenant("t", {.tokens_per_minute = 60});
  EXPECT_EQ(tenant.take_prompt(100, 0), 0);
  EXPECT_EQ(tenant.take_prompt(100, 0), 100 * kSecond);
  EXPECT_EQ(tenant.take_prompt(100, 100 * kSecond), 0);
}

TEST(Tenant, WithoutLimitsNothingWaits) {
  Tenant tenant("t", {});
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(tenant.enter());
    EXPECT_EQ(tenant.take_prompt(1'000'000'000, 0), 0);
  }
}

TEST(ApiKeys, FileGivesLimitsAndNames) {
  const TempFolder folder;
  const std::string path = folder.file("keys.txt");
  std::ofstream(path) << "# ours\n\nsk-a\nsk-b name=team max-concurrent=3 tokens-per-minute=0\r\n";
  const Result<std::vector<ApiKey>> keys = read_key_file(path);
  ASSERT_TRUE(keys) << keys.error().message;
  const ApiKeys table(*keys, {.max_concurrent = 7, .tokens_per_minute = 100});
  EXPECT_EQ(table.find("sk-c"), nullptr);
  EXPECT_EQ(table.find("sk-a")->limits().max_concurrent, 7);
  EXPECT_EQ(table.find("sk-a")->label().find("sk-a"), std::string::npos) << "keys are not shown";
  EXPECT_EQ(table.find("sk-b")->label(), "team");
  EXPECT_EQ(table.find("sk-b")->limits().max_concurrent, 3);
  EXPECT_EQ(table.find("sk-b")->limits().tokens_per_minute, 0);
}

TEST(ApiKeys, BadLinesAreNamedWithoutTheirKey) {
  const TempFolder folder;
  const std::string path = folder.file("keys.txt");
  for (const char* tail :
       {"max-concurrent=-1", "max-concurrent=x", "limit=3", "name=", "tokens-per-minute"}) {
    std::ofstream(path) << "sk-secret " << tail << "\n";
    const auto keys = read_key_file(path);
    ASSERT_FALSE(keys) << tail;
    EXPECT_NE(keys.error().message.find("line 1"), std::string::npos) << keys.error().message;
    EXPECT_EQ(keys.error().message.find("sk-secret"), std::string::npos);
  }
}

TEST(ApiKeys, AKeyStandsInOneLine) {
  const TempFolder folder;
  const std::string path = folder.file("keys.txt");
  std::ofstream(path) << "sk-secret max-concurrent=1\nsk-b\nsk-secret\n";
  const auto keys = read_key_file(path);
  ASSERT_FALSE(keys);
  EXPECT_NE(keys.error().message.find("line 3"), std::string::npos) << keys.error().message;
  EXPECT_EQ(keys.error().message.find("sk-secret"), std::string::npos);
}

class LimitsTest : public ServerFixture {
 protected:
  double refused(const char* reason) {
    return metric(fmt::format(
        "vllm:admission_rejections_total{{engine=\"0\",model_name=\"fake\",reason=\"{}\"}}", reason));
  }
  static int64_t retry_after(const HttpReply& reply) { return std::stoll(reply.headers.at("retry-after")); }
};

TEST_F(LimitsTest, EachKeyHasItsOwnConcurrency) {
  options.api_keys = {{.key = "one"}, {.key = "two"}};
  options.key_limits.max_concurrent = 1;
  step_time = milliseconds(1);
  start();
  HttpClient running(port());
  running.send(post_request(kCompletions, kLong, "Authorization: Bearer one\r\n"));
  ASSERT_TRUE(running.receive_until("data: "));
  gate.close();
  const HttpReply second = post(kCompletions, kShort, "Authorization: Bearer one\r\n");
  expect_error(second, 429, "rate_limit_error", "", "rate_limit_exceeded");
  EXPECT_GE(retry_after(second), 1);
  gate.open();
  EXPECT_EQ(post(kCompletions, kShort, "Authorization: Bearer two\r\n").status, 200);
  EXPECT_EQ(refused("key_concurrency"), 1);
  running.close();
  ASSERT_TRUE(engine_becomes_idle());
  for (int i = 0; i < 20; ++i)
    EXPECT_EQ(post(kCompletions, kShort, "Authorization: Bearer one\r\n").status, 200)
        << "a place is free as soon as the answer has come";
}

TEST_F(LimitsTest, TokensPerMinuteAreAnsweredWithTheTimeToWait) {
  options.key_limits.tokens_per_minute = 60;
  start();
  const std::string body = R"({"prompt":"abcdefgh","max_tokens":100,"ignore_eos":true})";
  EXPECT_EQ(post(kCompletions, body).status, 200);
  const HttpReply refusal = post(kCompletions, kShort);
  expect_error(refusal, 429, "rate_limit_error", "", "rate_limit_exceeded");
  EXPECT_GE(retry_after(refusal), 40) << refusal.body;
  EXPECT_LE(retry_after(refusal), 60) << refusal.body;
  EXPECT_EQ(refused("key_tokens"), 1);
}

TEST_F(LimitsTest, QueuedPromptsAreBounded) {
  engine_config.max_sequences = 1;
  engine_config.max_queued_tokens = 100;
  start();
  gate.close();
  const std::string body = fmt::format(R"({{"prompt":"{}","max_tokens":1}})", std::string(80, '!'));
  HttpClient running(port());
  running.send(post_request(kCompletions, kShort));
  gate.wait_until_held();
  HttpClient first(port());
  HttpClient second(port());
  first.send(post_request(kCompletions, body));
  second.send(post_request(kCompletions, body));
  ASSERT_TRUE(eventually([&] { return refused("queued_tokens") == 1; }));
  gate.open();
  const int statuses = running.receive().status + first.receive().status + second.receive().status;
  EXPECT_EQ(statuses, 200 + 200 + 429);
  EXPECT_EQ(post(kCompletions, body).status, 200) << "the queue is empty again";
}

TEST_F(LimitsTest, WhatTheQueueRefusesCostsNoTokens) {
  engine_config.max_sequences = 1;
  engine_config.max_queued_requests = 1;
  options.api_keys = {{.key = "free"}, {.key = "counted", .tokens_per_minute = 100}};
  step_time = milliseconds(1);
  start();
  HttpClient running(port());
  HttpClient queued(port());
  for (HttpClient* client : {&running, &queued})
    client->send(post_request(kCompletions, kLong, "Authorization: Bearer free\r\n"));
  ASSERT_TRUE(eventually([&] { return model->engine->stats().num_waiting == 1; }));
  gate.close();  // neither ends meanwhile
  const char* counted = "Authorization: Bearer counted\r\n";
  const std::string text(60, '!');
  const std::string embedding = fmt::format(R"({{"input":["{}"]}})", text);
  const std::string completion = fmt::format(R"({{"prompt":"{}","max_tokens":1}})", text);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(post("/v1/embeddings", embedding, counted).status, 429);
    EXPECT_EQ(post(kCompletions, completion, counted).status, 429);
  }
  EXPECT_EQ(refused("queue_full"), 6);
  EXPECT_EQ(refused("key_tokens"), 0);
  running.close();
  queued.close();
  gate.open();
  ASSERT_TRUE(engine_becomes_idle());
  EXPECT_EQ(post("/v1/embeddings", embedding, counted).status, 200);
  EXPECT_EQ(post("/v1/embeddings", embedding, counted).status, 429) << "what was computed costs";
  EXPECT_EQ(refused("key_tokens"), 1);
}

class DeadlineTest : public LimitsTest {};

TEST_F(DeadlineTest, AnAnswerThatTakesTooLongIs504) {
  step_time = milliseconds(2);
  start();
  for (const char* header :
       {"timeout: 0.1\r\n", "X-Request-Timeout: 0.1\r\n", "X-Stainless-Read-Timeout: 0.1\r\n"}) {
    const HttpReply reply =
        post(kCompletions, R"({"prompt":"ab","max_tokens":1500,"ignore_eos":true})", header);
    expect_error(reply, 504, "timeout_error", "", "deadline_exceeded");
    EXPECT_TRUE(engine_becomes_idle()) << "it was cancelled";
  }
  EXPECT_EQ(model->engine->stats().finished_abort, 3u);
}

TEST_F(DeadlineTest, AStreamSaysSoInBand) {
  step_time = milliseconds(1);
  start();
  HttpClient client(port());
  client.send(post_request(kCompletions, kLong, "timeout: 1\r\n"));
  ASSERT_TRUE(client.receive_until("data: "));
  gate.close();
  const HttpReply reply = client.receive();
  EXPECT_EQ(reply.status, 200);
  EXPECT_NE(reply.body.find(R"("code":"deadline_exceeded")"), std::string::npos) << reply.body;
  gate.open();
  EXPECT_TRUE(engine_becomes_idle());
}

TEST_F(DeadlineTest, HintsDoNotBindStreams) {
  step_time = milliseconds(1);
  start();
  const HttpReply reply =
      post(kCompletions, R"({"prompt":"ab","max_tokens":300,"ignore_eos":true,"stream":true})",
           "X-Stainless-Read-Timeout: 0.1\r\n");
  EXPECT_TRUE(reply.body.ends_with("data: [DONE]\n\n"));
  EXPECT_EQ(reply.body.find("error"), std::string::npos);
}

TEST_F(DeadlineTest, OneThatStandsStillIsAnsweredAllTheSame) {
  start();
  gate.close();
  const HttpReply reply = post(kCompletions, kShort, "timeout: 0.1\r\n");
  expect_error(reply, 504, "timeout_error", "", "deadline_exceeded");
  gate.open();
  EXPECT_TRUE(engine_becomes_idle());
}

TEST_F(DeadlineTest, WhatWouldWaitTooLongIsRefusedAtOnce) {
  engine_config.max_sequences = 1;
  step_time = milliseconds(2);
  start();
  const std::string slow = R"({"prompt":"ab","max_tokens":150,"ignore_eos":true})";
  for (int i = 0; i < 3; ++i) EXPECT_EQ(post(kCompletions, slow).status, 200);  // 0.3 s a request
  std::vector<std::unique_ptr<HttpClient>> queue;
  for (int i = 0; i < 8; ++i) {
    queue.push_back(std::make_unique<HttpClient>(port()));
    queue.back()->send(post_request(kCompletions, slow));
  }
  ASSERT_TRUE(eventually([&] { return model->engine->stats().num_waiting > 3; }));
  gate.close();
  expect_error(post(kCompletions, kShort, "timeout: 0.3\r\n"), 504, "timeout_error", "", "deadline_exceeded");
  EXPECT_EQ(refused("deadline"), 1);
}

TEST_F(DeadlineTest, NonsenseIsRefused) {
  start();
  for (const char* value : {"0", "-1", "soon", "1s", "nan", "inf"}) {
    const HttpReply reply = post(kCompletions, kShort, fmt::format("timeout: {}\r\n", value));
    expect_error(reply, 400, "invalid_request_error", "timeout", "invalid_value");
  }
  EXPECT_EQ(post(kCompletions, kShort, "x-stainless-read-timeout: soon\r\n").status, 200);
  EXPECT_EQ(post(kCompletions, kShort, "timeout: 1e99\r\n").status, 200);
}

}  // namespace
}  // namespace pagoda::testing
