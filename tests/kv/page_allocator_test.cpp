#include "kv/page_allocator.h"

#include <gtest/gtest.h>

namespace pagoda {
namespace {

TEST(PageAllocator, HandsOutAscendingPagesAtStart) {
  PageAllocator allocator(3);
  EXPECT_EQ(allocator.allocate(), 0);
  EXPECT_EQ(allocator.allocate(), 1);
  EXPECT_EQ(allocator.allocate(), 2);
  EXPECT_EQ(allocator.allocate(), std::nullopt);
  EXPECT_EQ(allocator.num_free(), 0);
  EXPECT_EQ(allocator.num_pages(), 3);
}

TEST(PageAllocator, FreesWithTheLastHolder) {
  PageAllocator allocator(2);
  const PageId page = *allocator.allocate();
  allocator.retain(page);
  EXPECT_EQ(allocator.ref_count(page), 2);
  allocator.release(page);
  EXPECT_EQ(allocator.num_free(), 1);
  allocator.release(page);
  EXPECT_EQ(allocator.num_free(), 2);
  EXPECT_EQ(allocator.ref_count(page), 0);
}

TEST(PageAllocator, ReusesThePageFreedLast) {
  PageAllocator allocator(4);
  for (int i = 0; i < 3; ++i) allocator.allocate();
  allocator.release(0);
  allocator.release(2);
  EXPECT_EQ(allocator.allocate(), 2);
  EXPECT_EQ(allocator.allocate(), 0);
  EXPECT_EQ(allocator.allocate(), 3);
}

TEST(PageAllocatorDeathTest, MisuseIsABug) {
  PageAllocator allocator(2);
  EXPECT_DEATH(allocator.release(0), "page 0 of 2 is free");
  EXPECT_DEATH(allocator.retain(1), "page 1 of 2 is free");
  EXPECT_DEATH(allocator.release(2), "page 2 of 2");
}

}  // namespace
}  // namespace pagoda
