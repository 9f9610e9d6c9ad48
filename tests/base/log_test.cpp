#include "base/log.h"

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

}  // namespace
}  // namespace pagoda
