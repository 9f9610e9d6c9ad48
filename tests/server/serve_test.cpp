// The whole of `pagoda serve` but its command line: from the open port to the end by a signal.
#include "server/serve.h"

#include <csignal>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

#include "server/http_client.h"
#include "support/fake_served_model.h"

namespace pagoda {
namespace {

constexpr const char* kBody = R"({"messages":[{"role":"user","content":"a"}],"max_tokens":1})";

ServerOptions quiet_options() {
  ServerOptions options;
  options.request_log = ServerOptions::RequestLog::off;
  return options;
}

TEST(ServeTest, TheWelcomeComesWhenTheServerIsReady) {
  std::vector<int> statuses;
  const Status status = serve(
      quiet_options(),
      [] { return Result<ServedModel>(testing::make_fake_served_model(testing::fake_engine_config())); },
      [&](const ServedModel&, uint16_t port) {
        testing::HttpClient client(port);
        statuses.push_back(client.get("/ready").status);
        statuses.push_back(testing::HttpClient(port).post("/v1/chat/completions", kBody).status);
        ::kill(::getpid(), SIGTERM);
      });
  EXPECT_TRUE(status) << status.error().message;
  EXPECT_EQ(statuses, (std::vector<int>{200, 200}));
}

TEST(ServeTest, ALoadersErrorEndsIt) {
  bool welcomed = false;
  const Status status = serve(
      quiet_options(), []() -> Result<ServedModel> { return fail(ErrorCode::corrupt, "model.gguf: broken"); },
      [&](const ServedModel&, uint16_t) { welcomed = true; });
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, "model.gguf: broken");
  EXPECT_FALSE(welcomed);
}

}  // namespace
}  // namespace pagoda
