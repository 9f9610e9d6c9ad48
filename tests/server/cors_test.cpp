// Browsers and proxies: CORS and --root-path.
#include "server/server_fixture.h"

namespace pagoda::testing {
namespace {

constexpr const char* kPreflight =
    "Origin: https://app.example\r\nAccess-Control-Request-Method: POST\r\n"
    "Access-Control-Request-Headers: authorization,content-type\r\n";

class CorsTest : public ServerFixture {
 protected:
  HttpReply preflight(const std::string& path) {
    HttpClient client(port());
    client.send("OPTIONS " + path + " HTTP/1.1\r\nHost: x\r\n" + kPreflight +
                "\r\nGET /health HTTP/1.1\r\n\r\n");
    HttpReply reply = client.receive("HEAD");  // 204 has no body
    EXPECT_EQ(client.receive().body, R"({"status":"ok"})") << "the connection goes on";
    return reply;
  }
};

TEST_F(CorsTest, WithoutTheOptionThereAreNoHeaders) {
  start();
  EXPECT_EQ(preflight("/v1/completions").status, 405);
  EXPECT_FALSE(
      get("/health", "Origin: https://app.example\r\n").headers.contains("access-control-allow-origin"));
}

TEST_F(CorsTest, APreflightNeedsNoKey) {
  options.cors_origins = {"https://app.example", "http://other.example"};
  options.api_keys = {{.key = "secret"}};
  start();
  const HttpReply reply = preflight("/v1/chat/completions");
  EXPECT_EQ(reply.status, 204);
  EXPECT_EQ(reply.headers.at("access-control-allow-origin"), "https://app.example");
  EXPECT_EQ(reply.headers.at("access-control-allow-methods"), "GET, HEAD, POST, OPTIONS");
  EXPECT_EQ(reply.headers.at("access-control-allow-headers"), "authorization,content-type");
  EXPECT_EQ(reply.headers.at("vary"), "Origin");
  EXPECT_FALSE(reply.headers.contains("content-length"));
}

TEST_F(CorsTest, AnswersErrorsAndStreamsHaveThem) {
  options.cors_origins = {"*"};
  start();
  const std::string origin = "Origin: http://anything\r\n";
  const HttpReply answers[] = {
      get("/v1/models", origin), get("/nowhere", origin), post("/v1/completions", "{", origin),
      post("/v1/completions", R"({"prompt":"a","max_tokens":1,"stream":true})", origin)};
  for (const HttpReply& reply : answers) {
    EXPECT_EQ(reply.headers.at("access-control-allow-origin"), "*") << reply.status;
    EXPECT_EQ(reply.headers.at("access-control-expose-headers"), "X-Request-Id, Retry-After");
  }
  EXPECT_FALSE(get("/v1/models").headers.contains("access-control-allow-origin")) << "no browser asked";
}

TEST_F(CorsTest, OtherOriginsGetNone) {
  options.cors_origins = {"https://app.example"};
  start();
  for (const char* origin :
       {"https://evil.example", "https://app.example.evil", "null", "http://app.example"}) {
    const HttpReply reply = get("/v1/models", std::string("Origin: ") + origin + "\r\n");
    EXPECT_FALSE(reply.headers.contains("access-control-allow-origin")) << origin;
    EXPECT_EQ(reply.headers.at("vary"), "Origin") << "caches must tell them apart";
  }
}

TEST_F(CorsTest, ARootPathMayBeThereOrNot) {
  options.root_path = "/llm/a";
  options.api_keys = {{.key = "secret"}};
  start();
  for (const char* path : {"/health", "/llm/a/health"}) EXPECT_EQ(get(path).status, 200) << path;
  for (const char* path : {"/llm/health", "/llm/ahealth", "/llm/a", "/llm/a/llm/a/health"})
    EXPECT_EQ(get(path).status, 404) << path;
  expect_error(get("/llm/a/v1/models"), 401, "invalid_request_error", "", "invalid_api_key");
  EXPECT_EQ(get("/llm/a/v1/models/fake", "Authorization: Bearer secret\r\n").status, 200);
  EXPECT_GE(metric("http_requests_total{handler=\"/health\""), 2) << "counted under the route";
}

}  // namespace
}  // namespace pagoda::testing
