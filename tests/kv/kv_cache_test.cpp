#include "kv/kv_cache.h"

#include <gtest/gtest.h>

namespace pagoda {
namespace {

class KvCacheTest : public ::testing::Test {
 protected:
  static constexpr KvShape kShape = {.num_layers = 2, .num_kv_heads = 1, .head_dim = 2, .type = KvType::f32};

  float& mark(KvHandle handle, int64_t position) {
    const PageId page = cache_.page_table(handle)[static_cast<size_t>(position / kPageTokens)];
    return reinterpret_cast<float*>(pool_.layer(1).k_plane(page, 0))[position % kPageTokens * 2];
  }
  void append(KvHandle handle, int64_t num_tokens, float value) {
    const int64_t begin = cache_.length(handle);
    ASSERT_TRUE(cache_.reserve(handle, begin + num_tokens));
    for (int64_t position = begin; position < begin + num_tokens; ++position) mark(handle, position) = value;
    cache_.commit(handle, begin + num_tokens);
  }

  KvPool pool_ = *KvPool::create(kShape, 8);
  KvCache cache_{pool_, 4, 8 * kPageTokens};
};

TEST_F(KvCacheTest, TakesPagesOnDemand) {
  const KvHandle handle = cache_.create();
  EXPECT_EQ(cache_.pages_needed(handle, 0), 0);
  EXPECT_EQ(cache_.pages_needed(handle, 17), 2);
  append(handle, 17, 1.0f);
  EXPECT_EQ(cache_.num_free_pages(), 6);
  EXPECT_EQ(cache_.pages_needed(handle, 32), 0);
  EXPECT_EQ(cache_.pages_needed(handle, 33), 1);
  EXPECT_EQ(cache_.length(handle), 17);
  EXPECT_EQ(cache_.page_table(handle).size(), 2u);
  EXPECT_EQ(cache_.live_tokens(), 17);
  cache_.release(handle);
  EXPECT_EQ(cache_.num_free_pages(), 8);
  cache_.check_invariants();
}

TEST_F(KvCacheTest, ReserveIsAllOrNothing) {
  const KvHandle handle = cache_.create();
  append(handle, 100, 1.0f);
  EXPECT_FALSE(cache_.reserve(handle, 8 * kPageTokens) && cache_.num_free_pages() != 0);
  const KvHandle other = cache_.create();
  EXPECT_FALSE(cache_.reserve(other, 2 * kPageTokens));
  EXPECT_TRUE(cache_.page_table(other).empty());
  cache_.check_invariants();
}

TEST_F(KvCacheTest, ForkSharesPagesAndCopiesOnTheFirstWrite) {
  const KvHandle parent = cache_.create();
  append(parent, 20, 1.0f);
  const KvHandle child = cache_.fork(parent);
  EXPECT_EQ(cache_.num_free_pages(), 6);
  EXPECT_EQ(cache_.length(child), 20);
  EXPECT_EQ(cache_.live_tokens(), 20);
  EXPECT_EQ(cache_.pages_needed(child, 21), 1);
  append(child, 1, 2.0f);
  EXPECT_EQ(cache_.num_free_pages(), 5);
  EXPECT_EQ(cache_.page_table(parent)[0], cache_.page_table(child)[0]);
  EXPECT_NE(cache_.page_table(parent)[1], cache_.page_table(child)[1]);
  EXPECT_EQ(mark(child, 19), 1.0f) << "the copy holds what was there";
  EXPECT_EQ(cache_.pages_needed(parent, 21), 0) << "the last holder writes in place";
  append(parent, 1, 3.0f);
  EXPECT_EQ(mark(child, 20), 2.0f);
  EXPECT_EQ(mark(parent, 20), 3.0f);
  cache_.check_invariants();
}

TEST_F(KvCacheTest, ForkOnAPageBorderNeedsNoCopy) {
  const KvHandle parent = cache_.create();
  append(parent, 32, 1.0f);
  const KvHandle child = cache_.fork(parent);
  append(child, 1, 2.0f);
  append(parent, 1, 3.0f);
  EXPECT_EQ(cache_.num_free_pages(), 4);
  EXPECT_EQ(mark(child, 32), 2.0f);
}

TEST_F(KvCacheTest, TruncateFreesPagesAndReservations) {
  const KvHandle handle = cache_.create();
  append(handle, 40, 1.0f);
  ASSERT_TRUE(cache_.reserve(handle, 64));
  EXPECT_EQ(cache_.num_free_pages(), 4);
  cache_.truncate(handle, 17);
  EXPECT_EQ(cache_.num_free_pages(), 6);
  EXPECT_EQ(cache_.length(handle), 17);
  cache_.truncate(handle, 0);
  EXPECT_EQ(cache_.num_free_pages(), 8);
}

TEST_F(KvCacheTest, WritingASharedPageIsABug) {
  const KvHandle parent = cache_.create();
  append(parent, 20, 1.0f);
  ASSERT_TRUE(cache_.reserve(parent, 21));
  cache_.fork(parent);
  EXPECT_DEATH(cache_.commit(parent, 21), "is shared");
}

TEST_F(KvCacheTest, MisuseIsABug) {
  EXPECT_DEATH(cache_.length(0), "handle 0 is not in use");
  const KvHandle handle = cache_.create();
  EXPECT_DEATH(cache_.commit(handle, 1), "0 -> 1 tokens in 0 pages");
  EXPECT_DEATH(cache_.truncate(handle, 1), "0 -> 1 tokens");
  for (int i = 0; i < 3; ++i) cache_.create();
  EXPECT_DEATH(cache_.create(), "all 4 block tables");
}

}  // namespace
}  // namespace pagoda
