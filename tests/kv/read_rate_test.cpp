#include "kv/disk/read_rate.h"

#include <gtest/gtest.h>

namespace pagoda {
namespace {

constexpr int64_t kMs = 1'000'000;

TEST(ReadRate, NothingIsKnownBeforeTheFirstRead) {
  ReadRate rate;
  rate.begin(5 * kMs);
  EXPECT_EQ(rate.seconds_per_page(), 0);
}

TEST(ReadRate, ReadsThatOverlapShareTheirTime) {
  ReadRate rate;
  for (int i = 0; i < 4; ++i) rate.begin(0);
  for (int i = 0; i < 4; ++i) rate.end(8 * kMs);
  EXPECT_DOUBLE_EQ(rate.seconds_per_page(), 0.002);
}

TEST(ReadRate, TimeWithoutReadsDoesNotCount) {
  ReadRate rate;
  for (int64_t start = 0; start < 10; ++start) {
    rate.begin(start * 1000 * kMs);
    rate.end((start * 1000 + 3) * kMs);
  }
  EXPECT_DOUBLE_EQ(rate.seconds_per_page(), 0.003);
}

TEST(ReadRate, ADiskThatBecomesSlowIsFoundOut) {
  ReadRate rate;
  int64_t now = 0;
  const auto read = [&](int count, int64_t each_ns) {
    for (int i = 0; i < count; ++i) {
      rate.begin(now);
      rate.end(now += each_ns);
    }
  };
  read(100'000, kMs);
  EXPECT_NEAR(rate.seconds_per_page(), 0.001, 1e-9);
  read(5'000, 50 * kMs);
  EXPECT_NEAR(rate.seconds_per_page(), 0.05, 0.001);
}

}  // namespace
}  // namespace pagoda
