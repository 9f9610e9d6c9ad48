#include "engine/request_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pagoda {
namespace {

using ::testing::HasSubstr;

class RequestCheckTest : public ::testing::Test {
 protected:
  void expect_refused(const Request& request, const char* part) {
    const Status status = check_request(request, config_, 50);
    ASSERT_FALSE(status) << part;
    EXPECT_EQ(status.error().code, ErrorCode::invalid_argument);
    EXPECT_THAT(status.error().message, HasSubstr(part));
  }
  EngineConfig config_{.max_context = 100, .max_sequences = 4, .num_pages = 10};
};

TEST_F(RequestCheckTest, AcceptsTheLargestThatFit) {
  EXPECT_TRUE(check_request({.prompt = {1}}, config_, 50));
  EXPECT_TRUE(check_request(
      {.prompt = std::vector<int32_t>(99, 49), .num_sequences = 4, .max_tokens = 1 << 30}, config_, 50));
  EXPECT_TRUE(check_request({.prompt = std::vector<int32_t>(100, 0), .max_tokens = 0}, config_, 50));
}

TEST_F(RequestCheckTest, NamesWhatIsWrong) {
  expect_refused({}, "prompt is empty");
  expect_refused({.prompt = std::vector<int32_t>(100, 1)}, "100 tokens");
  expect_refused({.prompt = {50}}, "prompt: token id 50");
  expect_refused({.prompt = {-1}}, "prompt: token id -1");
  expect_refused({.prompt = {1}, .num_sequences = 5}, "n must be between 1 and 4");
  expect_refused({.prompt = {1}, .num_sequences = 0}, "n must be");
  expect_refused({.prompt = {1}, .max_tokens = -1}, "max_tokens");
  expect_refused({.prompt = {1}, .max_tokens = 5, .min_tokens = 6}, "min_tokens");
  expect_refused({.prompt = {1}, .stop = {"a", ""}}, "stop");
  expect_refused({.prompt = {1}, .stop = std::vector<std::string>(65, "a")}, "stop");
  expect_refused({.prompt = {1}, .stop_token_ids = {50}}, "stop_token_ids");
  expect_refused({.prompt = {1}, .sampling = {.top_p = 2.0f}}, "top_p");
}

TEST_F(RequestCheckTest, PromptMustFitTheKvCache) {
  config_.num_pages = 2;
  EXPECT_TRUE(check_request({.prompt = std::vector<int32_t>(32, 1)}, config_, 50));
  expect_refused({.prompt = std::vector<int32_t>(33, 1)}, "KV cache holds 32 tokens");
}

}  // namespace
}  // namespace pagoda
