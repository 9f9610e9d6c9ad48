// Memory of the pool is there before its pages are used, and comes evenly. Whether it is there the system
// says.
#include "kv/pool_committer.h"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>
#include <sys/mman.h>

namespace pagoda {
namespace {

constexpr KvShape kShape = {.num_layers = 3, .num_kv_heads = 2, .head_dim = 64, .type = KvType::bf16};
constexpr int32_t kPages = 900;  // 24 KiB each: eleven pieces, the last one not whole

bool is_resident(std::byte* plane) {
  unsigned char state = 0;
  auto* page = reinterpret_cast<std::byte*>(reinterpret_cast<uintptr_t>(plane) / 4096 * 4096);
  EXPECT_EQ(mincore(page, 4096, &state), 0);
  return (state & 1) != 0;
}

bool is_resident(KvPool& pool, PageId page) {
  for (int layer = 0; layer < kShape.num_layers; ++layer)
    for (int head = 0; head < kShape.num_kv_heads; ++head)
      if (!is_resident(pool.layer(layer).k_plane(page, head)) ||
          !is_resident(pool.layer(layer).v_plane(page, head)))
        return false;
  return true;
}

class PoolCommitterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    KvPool probe = *KvPool::create(kShape, 1);
    if (!probe.commit_piece(0)) GTEST_SKIP() << "the system commits no memory ahead";
  }
  // As the engine does; returns how many pieces.
  size_t advance_to(PageId frontier) {
    const size_t num_pieces = committer_.num_missing(frontier + PoolCommitter::kReservePages);
    committer_.commit(num_pieces, threads_);
    return num_pieces;
  }

  KvPool pool_ = *KvPool::create(kShape, kPages);
  PoolCommitter committer_{pool_};
  ThreadPool threads_{2};
};

TEST_F(PoolCommitterTest, CommitsNothingUnasked) {
  for (const PageId page : {0, 500, kPages - 1}) EXPECT_FALSE(is_resident(pool_, page)) << page;
  EXPECT_EQ(committer_.num_missing(0), 0u);
}

TEST_F(PoolCommitterTest, PagesThatAStepTakesAreThereBefore) {
  advance_to(0);
  for (PageId frontier = 0; frontier < kPages;) {
    const PageId taken = std::min<PageId>(frontier + 1 + frontier % kClusterPages, kPages);
    for (; frontier < taken; ++frontier) ASSERT_TRUE(is_resident(pool_, frontier)) << frontier;
    advance_to(frontier);
  }
  EXPECT_EQ(committer_.num_missing(kPages), 0u);
}

TEST_F(PoolCommitterTest, ComesEvenlyAndNotBeforeItsTime) {
  advance_to(0);
  EXPECT_FALSE(is_resident(pool_, 5 * kClusterPages)) << "two clusters fit into a piece, which is whole";
  size_t most = 0;
  for (PageId frontier = 0; frontier < kPages; frontier += 16) most = std::max(most, advance_to(frontier));
  EXPECT_EQ(most, 1u) << "16 pages are less than a piece";
}

TEST_F(PoolCommitterTest, ContentsStay) {
  std::byte* plane = pool_.layer(1).v_plane(300, 1);
  *plane = std::byte{0x5a};
  advance_to(kPages);
  EXPECT_EQ(*plane, std::byte{0x5a});
  EXPECT_TRUE(is_resident(pool_, kPages - 1));
  EXPECT_EQ(committer_.num_missing(kPages), 0u);
}

}  // namespace
}  // namespace pagoda
