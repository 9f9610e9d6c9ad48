#include "base/log_event.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pagoda {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string logged_at(LogLevel level) {
  ::testing::internal::CaptureStderr();
  init_logging(level);
  PAGODA_DEBUG("line {}", "d");
  PAGODA_INFO("line {}", "i");
  PAGODA_WARN("line {}", "w");
  PAGODA_ERROR("line {}", "e");
  spdlog::default_logger()->flush();
  return ::testing::internal::GetCapturedStderr();
}

TEST(Log, WritesLinesOfItsLevelAndAboveToStandardError) {
  ::testing::internal::CaptureStdout();
  EXPECT_THAT(logged_at(LogLevel::debug), HasSubstr("line d"));
  const std::string text = logged_at(LogLevel::warning);
  EXPECT_THAT(text, Not(HasSubstr("line i")));
  EXPECT_THAT(text, HasSubstr("line w"));
  EXPECT_THAT(text, HasSubstr("line e"));
  EXPECT_EQ(logged_at(LogLevel::off), "");
  EXPECT_EQ(::testing::internal::GetCapturedStdout(), "");
}

TEST(Log, HasNoColoursInAFile) {
  EXPECT_THAT(logged_at(LogLevel::debug), Not(HasSubstr("\033")));
}

TEST(Log, JsonLinesAreOneObjectEach) {
  ::testing::internal::CaptureStderr();
  init_logging(LogLevel::info, LogFormat::json);
  PAGODA_DEBUG("not shown");
  PAGODA_WARN("a \"quote\"\n and \xff");
  const LogField fields[] = {{"path", "/v1\\x"}, {"status", int64_t{200}}, {"ms", 1.5}};
  log_event("request", fields);
  const std::string text = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(text, Not(HasSubstr("not shown")));
  EXPECT_THAT(text,
              HasSubstr("\"level\":\"warning\",\"message\":\"a \\\"quote\\\"\\u000a and \xef\xbf\xbd\"}\n"));
  EXPECT_THAT(text, HasSubstr(R"("event":"request","path":"/v1\\x","status":200,"ms":1.500})"));
  ::testing::internal::CaptureStderr();
  init_logging(LogLevel::info, LogFormat::text);
  log_event("request", fields);
  EXPECT_THAT(::testing::internal::GetCapturedStderr(),
              HasSubstr("info request path=/v1\\x status=200 ms=1.500\n"));
}

}  // namespace
}  // namespace pagoda
