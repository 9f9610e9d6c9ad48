#include "base/heap.h"

#include <malloc.h>

#include <cstdlib>
#include <memory>

#include <gtest/gtest.h>

namespace pagoda {
namespace {

struct Free {
  void operator()(void* block) const { std::free(block); }
};

std::unique_ptr<void, Free> block(size_t num_bytes) {
  std::unique_ptr<void, Free> made(std::malloc(num_bytes));
  return made;
}

TEST(HeapTest, LargeBlocksAreMappingsAlsoAfterLargerOnesWereFreed) {
  if (mallinfo2().arena == 0) GTEST_SKIP() << "a sanitizer has brought its own heap";
  return_large_blocks();
  block(20 << 20).reset();  // would raise glibc's limit to its size
  const size_t before = mallinfo2().hblkhd;
  const auto large = block(4 << 20);
  EXPECT_GE(mallinfo2().hblkhd, before + (4 << 20));
}

}  // namespace
}  // namespace pagoda
