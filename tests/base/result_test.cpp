#include "base/result.h"

#include <array>
#include <memory>
#include <set>
#include <span>

#include <gtest/gtest.h>

namespace pagoda {
namespace {

Result<int> number(int value) {
  if (value < 0) return fail(ErrorCode::invalid_argument, "{} is negative", value);
  return value;
}

Result<std::unique_ptr<int>> pointer_to(int value) {
  PAGODA_TRY(const int checked, number(value));
  return std::make_unique<int>(checked);
}

Result<std::string> sum_as_text(int a, int b, int& num_evaluated) {
  PAGODA_TRY(const int first, number((++num_evaluated, a)));
  PAGODA_TRY(int second, number((++num_evaluated, b)));
  second += first;
  return std::to_string(second);
}

Status check_all(std::span<const int> values, int& num_evaluated) {
  for (const int value : values)
    if (value != 0)
      PAGODA_TRY_STATUS([&]() -> Status {
        ++num_evaluated;
        if (value < 0) return fail(ErrorCode::cancelled, "stopped at {}", value);
        return {};
      }());
  return {};
}

TEST(Result, FailFormatsItsMessage) {
  const Status status = fail(ErrorCode::corrupt, "{}: field '{}' is {}", "a.gguf", "rank", 5);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::corrupt);
  EXPECT_EQ(status.error().message, "a.gguf: field 'rank' is 5");
}

TEST(Result, TryBindsValuesAndEvaluatesEachExpressionOnce) {
  int num_evaluated = 0;
  const auto result = sum_as_text(2, 3, num_evaluated);
  ASSERT_TRUE(result);
  EXPECT_EQ(*result, "5");
  EXPECT_EQ(num_evaluated, 2);
}

TEST(Result, TryReturnsTheFirstErrorAndStops) {
  int num_evaluated = 0;
  const auto result = sum_as_text(-1, -2, num_evaluated);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(result.error().message, "-1 is negative");
  EXPECT_EQ(num_evaluated, 1);
}

TEST(Result, TryMovesValuesThatCannotBeCopied) {
  const auto unwrap = [](int value) -> Result<int> {
    PAGODA_TRY(const auto pointer, pointer_to(value));
    return *pointer;
  };
  EXPECT_FALSE(unwrap(-7));
  EXPECT_EQ(unwrap(7).value_or(0), 7);
}

TEST(Result, TryAssignsToWhatExists) {
  struct Pair {
    int first = 0;
  } pair;
  const auto assign = [&](int value) -> Status {
    PAGODA_TRY(pair.first, number(value));
    return {};
  };
  EXPECT_TRUE(assign(4));
  EXPECT_FALSE(assign(-4));
  EXPECT_EQ(pair.first, 4);
}

TEST(Result, TryStatusPassesSuccessAndReturnsErrors) {
  int num_evaluated = 0;
  EXPECT_TRUE(check_all(std::array{1, 0, 2}, num_evaluated));
  EXPECT_EQ(num_evaluated, 2);
  num_evaluated = 0;
  const Status status = check_all(std::array{1, -5, 2}, num_evaluated);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::cancelled);
  EXPECT_EQ(status.error().message, "stopped at -5");
  EXPECT_EQ(num_evaluated, 2);
}

TEST(Result, EveryCodeHasItsOwnName) {
  std::set<std::string_view> names;
  for (int code = 0; code <= static_cast<int>(ErrorCode::internal); ++code)
    EXPECT_TRUE(names.insert(to_string(static_cast<ErrorCode>(code))).second) << code;
  EXPECT_FALSE(names.contains("unknown"));
}

}  // namespace
}  // namespace pagoda
