// The transport and the control routes, seen through a socket.
#include <thread>

#include <boost/json.hpp>

#include "server/server_fixture.h"

namespace pagoda::testing {
namespace {

namespace json = boost::json;
using std::chrono::milliseconds;

class HttpTest : public ServerFixture {};

TEST_F(HttpTest, ControlRoutesAnswer) {
  start();
  EXPECT_EQ(get("/health").status, 200);
  EXPECT_EQ(get("/v1/health").status, 200);
  EXPECT_EQ(get("/ready").status, 200);
  EXPECT_EQ(parse(get("/version").body).at("version"), PAGODA_VERSION);
  const HttpReply metrics = get("/metrics");
  EXPECT_EQ(metrics.headers.at("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  for (const char* name :
       {"vllm:num_requests_running{", "vllm:num_requests_waiting{", "vllm:kv_cache_usage_perc{",
        "vllm:request_success_total{", "vllm:time_to_first_token_seconds_bucket{",
        "vllm:prompt_tokens_total{", "vllm:generation_tokens_total{", "process_resident_memory_bytes ",
        "pagoda_run_queue_wait_seconds_total ", "pagoda_machine_steal_seconds_total ", "process_open_fds ",
        "http_requests_total{handler=\"/health\",method=\"GET\",status=\"2xx\"} 1"})
    EXPECT_NE(metrics.body.find(name), std::string::npos) << name;
  EXPECT_NE(metrics.body.find("model_name=\"fake\""), std::string::npos);
  EXPECT_NE(metrics.body.find("engine=\"0\""), std::string::npos);
}

TEST_F(HttpTest, TheKvCacheIsDescribedByLabels) {
  engine_config.num_pages = 300;
  engine_config.max_context = 2048;
  start();
  const std::string metrics = get("/metrics").body;
  const size_t begin = metrics.find("vllm:cache_config_info{");
  ASSERT_NE(begin, std::string::npos);
  const std::string line = metrics.substr(begin, metrics.find('\n', begin) - begin);
  for (const char* label : {"block_size=\"16\"", "num_cpu_blocks=\"300\"", "kv_cache_size_tokens=\"4800\"",
                            "kv_cache_max_concurrency=\"2.34\"", "enable_prefix_caching=\"True\""})
    EXPECT_TRUE(line.contains(label)) << line;
}

TEST_F(HttpTest, ModelsAreListed) {
  start();
  const json::value list = parse(get("/v1/models").body);
  EXPECT_EQ(list.at("object"), "list");
  ASSERT_EQ(list.at("data").as_array().size(), 2u);
  EXPECT_EQ(list.at("data").at(0).at("id"), "fake");
  EXPECT_EQ(list.at("data").at(0).at("max_model_len"), 2048);
  EXPECT_EQ(parse(get("/v1/models/fake").body).at("object"), "model");
  EXPECT_EQ(parse(get("/v1/models/org/fake-model").body).at("id"), "org/fake-model");
  EXPECT_EQ(parse(get("/v1/models/org%2Ffake-model").body).at("id"), "org/fake-model");
  expect_error(get("/v1/models/none"), 404, "invalid_request_error", "model", "model_not_found");
}

TEST_F(HttpTest, UnknownPathsAndMethods) {
  start();
  expect_error(get("/nothing"), 404, "invalid_request_error", "", "unknown_url");
  expect_error(get("/v1/models/"), 404, "invalid_request_error", "", "unknown_url");
  const HttpReply reply = get("/v1/chat/completions");
  expect_error(reply, 405, "invalid_request_error", "", "method_not_allowed");
  EXPECT_EQ(reply.headers.at("allow"), "POST");
  EXPECT_EQ(post("/health", "{}").headers.at("allow"), "GET, HEAD");
}

TEST_F(HttpTest, HeadHasTheHeadersOfGet) {
  start();
  HttpClient client(port());
  client.send("HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n");
  const HttpReply reply = client.receive("HEAD");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.headers.at("content-length"), "15");
  EXPECT_EQ(client.get("/version").status, 200) << "no body may follow";
}

TEST_F(HttpTest, RequestIdsAreEchoedOrMade) {
  start();
  EXPECT_EQ(get("/health", "X-Request-Id: abc-1\r\n").headers.at("x-request-id"), "abc-1");
  const std::string made = get("/health").headers.at("x-request-id");
  EXPECT_TRUE(made.starts_with("req-"));
  EXPECT_NE(get("/health").headers.at("x-request-id"), made);
  EXPECT_TRUE(get("/health", "X-Request-Id: two words\r\n").headers.at("x-request-id").starts_with("req-"));
  EXPECT_TRUE(get("/health", "X-Request-Id: " + std::string(200, 'a') + "\r\n")
                  .headers.at("x-request-id")
                  .starts_with("req-"));
}

TEST_F(HttpTest, KeepAliveServesManyRequests) {
  start();
  HttpClient client(port());
  for (int i = 0; i < 20; ++i) EXPECT_EQ(client.get("/health").status, 200);
  const HttpReply last = client.get("/health", "Connection: close\r\n");
  EXPECT_EQ(last.headers.at("connection"), "close");
  EXPECT_TRUE(client.closed_by_peer());
}

TEST_F(HttpTest, PipelinedRequestsAreAnsweredInOrder) {
  start();
  HttpClient client(port());
  const std::string completion =
      post_request("/v1/completions", R"({"prompt":"ab","max_tokens":3,"ignore_eos":true})");
  client.send("GET /version HTTP/1.1\r\nHost: x\r\n\r\n" + completion +
              "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n" + completion +
              "GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(parse(client.receive().body).as_object().contains("version"));
  EXPECT_EQ(parse(client.receive().body).at("object"), "text_completion");
  EXPECT_EQ(client.receive().status, 404);
  EXPECT_EQ(parse(client.receive().body).at("object"), "text_completion");
  EXPECT_EQ(client.receive().body, R"({"status":"ok"})");
}

TEST_F(HttpTest, PipelinedBytesSurviveAStream) {
  start();
  HttpClient client(port());
  client.send(
      post_request("/v1/completions", R"({"prompt":"ab","max_tokens":40,"ignore_eos":true,"stream":true})"));
  ASSERT_TRUE(client.receive_until("data: "));
  client.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(client.receive().body.ends_with("data: [DONE]\n\n"));
  EXPECT_EQ(client.receive().body, R"({"status":"ok"})");
}

TEST_F(HttpTest, BodiesAreLimited) {
  options.http.body_limit = 1000;
  start();
  expect_error(post("/v1/completions", std::string(1001, ' ')), 413, "invalid_request_error", "",
               "request_too_large");
  HttpClient chunked(port());
  chunked.send("POST /v1/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 3; ++i) chunked.send("190\r\n" + std::string(0x190, ' ') + "\r\n");
  EXPECT_EQ(chunked.receive().status, 413);
  EXPECT_EQ(post("/v1/completions", R"({"prompt":"a","max_tokens":1})" + std::string(900, ' ')).status, 200);
}

TEST_F(HttpTest, ARequestWithTooLongABodyIsStillLookedAt) {
  options.http.body_limit = 1000;
  options.api_keys = {{.key = "secret"}};
  start();
  const std::string body(1001, ' ');
  const HttpReply reply =
      post("/v1/completions", body, "Authorization: Bearer secret\r\nX-Request-Id: mine\r\n");
  EXPECT_EQ(reply.status, 413);
  EXPECT_EQ(reply.headers.at("x-request-id"), "mine");
  EXPECT_EQ(reply.headers.at("connection"), "close");
  EXPECT_EQ(post("/v1/completions", body).status, 401);
  EXPECT_EQ(post("/nothing", body).status, 404);
}

TEST_F(HttpTest, ARefusalReachesAClientThatIsStillSending) {
  options.http.body_limit = 1000;
  start();
  HttpClient client(port());
  client.send(fmt::format("POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", 400'000));
  client.send(std::string(400'000, ' '));
  EXPECT_EQ(client.receive().status, 413);
}

TEST_F(HttpTest, ChunkedBodiesAreRead) {
  start();
  HttpClient client(port());
  client.send("POST /v1/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
  client.send("8\r\n{\"prompt\r\n");
  client.send("15\r\n\":\"a\",\"max_tokens\":1}\r\n0\r\n\r\n");
  EXPECT_EQ(client.receive().status, 200);
}

TEST_F(HttpTest, ChunkedBodiesMayComeByteByByte) {
  start();
  HttpClient client(port());
  client.send("POST /v1/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (const char ch : std::string_view("1d\r\n{\"prompt\":\"a\",\"max_tokens\":1}\r\n0\r\n\r\n"))
    client.send(std::string(1, ch));
  EXPECT_EQ(client.receive().status, 200);
  client.send("POST /nothing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n");
  client.send("\r");
  client.send("\n");
  EXPECT_EQ(client.receive().status, 404);
}

TEST_F(HttpTest, ContinueIsSentOnlyWhenTheBodyIsWanted) {
  start();
  const std::string body = R"({"prompt":"a","max_tokens":1})";
  HttpClient client(port());
  client.send(fmt::format(
      "POST /v1/completions HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
      body.size()));
  EXPECT_EQ(client.receive().status, 100);
  client.send(body);
  EXPECT_EQ(client.receive().status, 200);
  HttpClient refused(port());
  refused.send("POST /nothing HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
  EXPECT_EQ(refused.receive().status, 404);
}

TEST_F(HttpTest, LongHeadersAreRefused) {
  start();
  expect_error(get("/health", "X-Long: " + std::string(20'000, 'a') + "\r\n"), 431, "invalid_request_error",
               "", "headers_too_large");
}

TEST_F(HttpTest, WhatIsNotHttpIsRefused) {
  start();
  const std::string kBroken[] = {
      "hello\r\n\r\n",
      "GET\r\n\r\n",
      "GET / HTTP/9.9\r\n\r\n",
      "GET /a b HTTP/1.1\r\n\r\n",
      "POST /v1/completions HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
      "POST /v1/completions HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
      "POST /v1/completions HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "POST /v1/completions HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\nGET /health HTTP/1.1\r\n\r\n",
      "POST /v1/completions HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
      "POST /v1/completions HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
      "POST /v1/completions HTTP/1.1\r\nTransfer-Encoding: xchunked\r\nContent-Length: 2\r\n\r\n{}",
      "GET /health HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n",
      std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11)};
  for (const std::string& bytes : kBroken) {
    HttpClient client(port());
    client.send(bytes);
    const HttpReply reply = client.receive();
    EXPECT_EQ(reply.status, 400) << bytes;
    EXPECT_EQ(reply.status == 400 ? reply.headers.at("connection") : "", "close");
  }
  EXPECT_EQ(get("/health").status, 200);
}

TEST_F(HttpTest, SlowSendersAreRefused) {
  options.http.header_timeout = milliseconds(50);
  options.http.body_timeout = milliseconds(50);
  start();
  HttpClient head(port());
  head.send("GET /hea");
  expect_error(head.receive(), 408, "invalid_request_error", "", "request_timeout");
  HttpClient body(port());
  body.send("POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{");
  expect_error(body.receive(), 408, "invalid_request_error", "", "request_timeout");
  EXPECT_TRUE(body.closed_by_peer());
}

TEST_F(HttpTest, IdleConnectionsAreClosedSilently) {
  options.http.idle_timeout = milliseconds(500);  // longer than a busy machine lets this thread wait to send
  start();
  HttpClient silent(port());
  EXPECT_TRUE(silent.closed_by_peer());
  HttpClient used(port());
  EXPECT_EQ(used.get("/health").status, 200);
  EXPECT_TRUE(used.closed_by_peer());
}

TEST_F(HttpTest, OldClientsGetStreamsThatEndWithTheConnection) {
  start();
  HttpClient client(port());
  const std::string body = R"({"prompt":"ab","max_tokens":3,"ignore_eos":true,"stream":true})";
  client.send(
      fmt::format("POST /v1/completions HTTP/1.0\r\nContent-Length: {}\r\n\r\n{}", body.size(), body));
  const HttpReply reply = client.receive();
  EXPECT_EQ(reply.status, 200);
  EXPECT_FALSE(reply.headers.contains("transfer-encoding"));
  EXPECT_TRUE(reply.body.starts_with("data: "));
  EXPECT_TRUE(reply.body.ends_with("data: [DONE]\n\n"));
}

TEST_F(HttpTest, KeysGuardTheApiOnly) {
  options.api_keys = {{.key = "secret"}};
  start();
  const std::string body = R"({"prompt":"a","max_tokens":1})";
  for (const char* path : {"/health", "/v1/health", "/ready", "/metrics", "/version"})
    EXPECT_EQ(get(path).status, 200);
  expect_error(get("/v1/models"), 401, "invalid_request_error", "", "invalid_api_key");
  expect_error(get("/v1/nothing"), 401, "invalid_request_error", "", "invalid_api_key");
  const HttpReply wrong = post("/v1/completions", body, "Authorization: Bearer wrong\r\n");
  expect_error(wrong, 401, "invalid_request_error", "", "invalid_api_key");
  EXPECT_EQ(wrong.headers.at("www-authenticate"), "Bearer");
  EXPECT_EQ(post("/v1/completions", body, "Authorization: Basic secret\r\n").status, 401);
  EXPECT_EQ(post("/v1/completions", body, "Authorization: Bearer secret\r\n").status, 200);
  EXPECT_EQ(post("/v1/completions", body, "X-Api-Key: secret\r\n").status, 200);
  EXPECT_EQ(get("/v1/models", "authorization: bearer secret\r\n").status, 200);
}

TEST_F(HttpTest, APortInUseIsToldInASentence) {
  start();
  ServerOptions second = options;
  second.http.port = port();
  const auto refused = Server::create(second);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("Address already in use"), std::string::npos)
      << refused.error().message;
}

TEST_F(HttpTest, ManyConnectionsAtOnce) {
  start();
  std::vector<std::unique_ptr<HttpClient>> clients;
  for (int i = 0; i < 200; ++i) clients.push_back(std::make_unique<HttpClient>(port()));
  for (auto& client : clients) client->send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
  for (auto& client : clients) EXPECT_EQ(client->receive().status, 200);
}

}  // namespace
}  // namespace pagoda::testing
