#include "base/divided_work.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace pagoda {
namespace {

constexpr size_t kParts = 1000;

class DividedWorkTest : public testing::TestWithParam<int> {
 protected:
  int num_threads() const { return GetParam(); }
};
INSTANTIATE_TEST_SUITE_P(Threads, DividedWorkTest, testing::Values(0, 1, 2, 5));

TEST_P(DividedWorkTest, EveryPartIsDoneOnceAndWorkersDoNotOverlap) {
  std::vector<std::atomic<int>> counts(kParts);
  std::vector<std::atomic<int>> busy(5);
  std::vector<size_t> last(5);
  std::atomic<int> num_bad = 0;
  const Status status = divide_work(kParts, num_threads(), {}, [&](size_t part, int worker) -> Status {
    const auto w = static_cast<size_t>(worker);
    if (worker < 0 || worker >= std::max(num_threads(), 1) || busy[w]++ != 0) ++num_bad;
    if (part % 8 == 0) std::this_thread::yield();
    if (part < last[w]) ++num_bad;
    last[w] = part;
    ++counts[part];
    --busy[w];
    return {};
  });
  EXPECT_TRUE(status);
  EXPECT_EQ(num_bad, 0);
  for (const std::atomic<int>& count : counts) EXPECT_EQ(count, 1);
}

TEST_P(DividedWorkTest, AnErrorEndsTheWork) {
  std::atomic<size_t> num_calls = 0;
  const Status status = divide_work(kParts, num_threads(), {}, [&](size_t part, int) -> Status {
    ++num_calls;
    if (part == 10) return fail(ErrorCode::io, "part {}", part);
    return {};
  });
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::io);
  EXPECT_EQ(status.error().message, "part 10");
  EXPECT_GE(num_calls, 11u);
  if (num_threads() <= 1) {
    EXPECT_EQ(num_calls, 11u);
  }
}

TEST_P(DividedWorkTest, ProgressRisesToOneInTheThreadThatWaits) {
  struct Seen {
    std::thread::id thread = std::this_thread::get_id();
    std::vector<double> fractions;
  } seen;
  const WorkProgress progress = {[](void* context, double fraction) {
                                   auto* s = static_cast<Seen*>(context);
                                   EXPECT_EQ(s->thread, std::this_thread::get_id());
                                   s->fractions.push_back(fraction);
                                 },
                                 &seen};
  ASSERT_TRUE(divide_work(kParts, num_threads(), progress, [](size_t, int) -> Status { return {}; }));
  ASSERT_FALSE(seen.fractions.empty());
  EXPECT_TRUE(std::ranges::is_sorted(seen.fractions));
  EXPECT_GE(seen.fractions.front(), 0.0);
  EXPECT_EQ(seen.fractions.back(), 1.0);
}

TEST(DividedWork, NothingToDoIsDoneAtOnce) {
  EXPECT_TRUE(divide_work(0, 2, {}, [](size_t, int) -> Status { return fail(ErrorCode::io, "called"); }));
}

}  // namespace
}  // namespace pagoda
