#include "sched/longest_lately.h"

#include <gtest/gtest.h>

namespace pagoda {
namespace {

TEST(LongestLately, AreThoseLongerThanAllButAFewInAThousand) {
  LongestLately longest;
  // Squares of 1 to 1024, not in their order.
  const auto square = [](size_t n) { return static_cast<double>(n * n); };
  for (size_t i = 0; i < LongestLately::kMemory; ++i) longest.add(square(1 + 387 * i % 1024));
  EXPECT_FALSE(longest.has(square(1016)));
  EXPECT_TRUE(longest.has(square(1017)));
}

TEST(LongestLately, AreNoneWhereAllAreAboutAsLong) {
  LongestLately longest;
  for (int i = 0; i < 1000; ++i) longest.add(10 + i % 10);
  EXPECT_FALSE(longest.has(19));
  EXPECT_FALSE(longest.has(20));
  EXPECT_TRUE(longest.has(40));
}

TEST(LongestLately, AreNoneBeforeSomeHaveCome) {
  LongestLately longest;
  for (size_t i = 1; i < LongestLately::kFirst; ++i) longest.add(1);
  EXPECT_FALSE(longest.has(1e9));
  longest.add(1);
  EXPECT_TRUE(longest.has(1e9));
}

TEST(LongestLately, ForgetsWhatCameLongAgo) {
  LongestLately longest;
  for (size_t i = 0; i < LongestLately::kMemory; ++i) longest.add(1000);
  EXPECT_FALSE(longest.has(50));
  for (size_t i = 0; i < LongestLately::kMemory; ++i) longest.add(1);
  EXPECT_TRUE(longest.has(50));
}

}  // namespace
}  // namespace pagoda
