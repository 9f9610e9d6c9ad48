#include "base/clock.h"

#include <gtest/gtest.h>

namespace pagoda {
namespace {

TEST(ManualClock, MovesOnlyWhenTold) {
  ManualClock clock;
  const Clock& seen = clock;
  EXPECT_EQ(seen.now_ns(), 0);
  EXPECT_EQ(seen.now_ns(), 0);
  clock.advance_ns(5);
  clock.advance_ns(7'000'000'000);
  EXPECT_EQ(seen.now_ns(), 7'000'000'005);
}

TEST(SteadyClock, NeverGoesBackAndMoves) {
  const SteadyClock clock;
  const int64_t start = clock.now_ns();
  int64_t last = start;
  while (last == start) {
    const int64_t now = clock.now_ns();
    ASSERT_GE(now, last);
    last = now;
  }
}

}  // namespace
}  // namespace pagoda
