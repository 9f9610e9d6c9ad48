#include <gtest/gtest.h>

#include <atomic>

#include "base/thread_pool.h"
#include "support/counting_new.h"

namespace pagoda::testing {
namespace {

TEST(ThreadPoolAllocation, JobsAllocateNothing) {
  ThreadPool pool(3);
  std::atomic<size_t> num_items{0};
  const int64_t before = num_allocations();
  for (int job = 0; job < 100; ++job) {
    if (job % 10 == 0) pool.wake();
    pool.parallel_for(1000, 7, [&](size_t begin, size_t end, int) { num_items += end - begin; });
  }
  EXPECT_EQ(num_allocations(), before);
  EXPECT_EQ(num_items.load(), 100'000u);
}

}  // namespace
}  // namespace pagoda::testing
