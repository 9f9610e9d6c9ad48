// Pages of sequences that have given up their tables and will come back.
#include <gtest/gtest.h>

#include "kv/cache_harness.h"

namespace pagoda {
namespace {

using testing::CacheHarness;
using testing::count_from;
using testing::TokenKeys;
using testing::Tokens;

// The sequence computes its tokens, gives up its table and will come back at `when`.
ReturnId run_and_await(CacheHarness& harness, const Tokens& tokens, double when) {
  harness.run_and_release(tokens);
  const ReturnId id = harness.cache->await_return({}, TokenKeys(tokens), std::ssize(tokens), when);
  EXPECT_NE(id, kNoReturn);
  harness.cache->check_invariants();
  return id;
}

TEST(PrefixCacheReturns, AwaitedPagesGoAfterAllOthers) {
  CacheHarness harness(8);
  const Tokens awaited = count_from(0, 48);
  run_and_await(harness, awaited, 10);
  harness.run_and_release(count_from(1000, 48));  // younger
  harness.run_and_release(count_from(2000, 80));
  EXPECT_EQ(harness.found(awaited), 48);
  EXPECT_EQ(harness.found(count_from(1000, 48)), 0);
}

TEST(PrefixCacheReturns, WithoutThemTheOldestGo) {
  CacheHarness harness(8, {.awaits_returns = false});
  const Tokens tokens = count_from(0, 48);
  harness.run_and_release(tokens);
  EXPECT_EQ(harness.cache->await_return({}, TokenKeys(tokens), 48, 10), kNoReturn);
  harness.run_and_release(count_from(1000, 48));
  harness.run_and_release(count_from(2000, 80));
  EXPECT_LT(harness.found(tokens), 48);
}

TEST(PrefixCacheReturns, WhatIsNeededLastGoesFirst) {
  CacheHarness harness(8);
  const ReturnId early = run_and_await(harness, count_from(0, 48), 10);
  const ReturnId late = run_and_await(harness, count_from(1000, 48), 20);
  harness.cache->expect_return(early, 15);
  harness.run_and_release(count_from(2000, 64));
  EXPECT_EQ(harness.found(count_from(0, 48)), 48);
  EXPECT_EQ(harness.found(count_from(1000, 48)), 16) << "only as many as were needed, from the end";
  EXPECT_TRUE(harness.cache->prefix_cache().is_awaited(early));
  // What is left of it can be kept again.
  ASSERT_TRUE(harness.cache->prefix_cache().is_awaited(late));
  harness.cache->expect_return(late, 5);
  harness.cache->check_invariants();
  harness.run_and_release(count_from(3000, 64));
  EXPECT_EQ(harness.found(count_from(1000, 48)), 16);
  EXPECT_EQ(harness.found(count_from(0, 48)), 48);
}

TEST(PrefixCacheReturns, WhenTheyAreNeededMayChange) {
  CacheHarness harness(8);
  const ReturnId first = run_and_await(harness, count_from(0, 48), 10);
  run_and_await(harness, count_from(1000, 48), 20);
  harness.cache->expect_return(first, 30);
  harness.run_and_release(count_from(2000, 64));
  EXPECT_EQ(harness.found(count_from(1000, 48)), 48);
}

TEST(PrefixCacheReturns, ASharedPageCountsForTheEarliest) {
  CacheHarness harness(8);
  Tokens other = count_from(0, 48);
  for (size_t i = 32; i < other.size(); ++i) other[i] += 500;
  run_and_await(harness, count_from(0, 48), 10);
  run_and_await(harness, other, 20);
  harness.run_and_release(count_from(2000, 80));  // one page is to go
  EXPECT_EQ(harness.found(count_from(0, 48)), 48);
  EXPECT_EQ(harness.found(other), 32);
}

TEST(PrefixCacheReturns, ForgottenPagesAreLikeOthers) {
  CacheHarness harness(8);
  harness.cache->forget_return(run_and_await(harness, count_from(0, 48), 10));
  run_and_await(harness, count_from(1000, 48), 1000);
  harness.run_and_release(count_from(2000, 64));
  EXPECT_EQ(harness.found(count_from(1000, 48)), 48);
  EXPECT_EQ(harness.found(count_from(0, 48)), 16);
}

TEST(PrefixCacheReturns, IdsAreNotUsedAgain) {
  CacheHarness harness(8);
  const ReturnId first = run_and_await(harness, count_from(0, 48), 10);
  harness.cache->forget_return(first);
  const ReturnId second = run_and_await(harness, count_from(0, 48), 10);
  EXPECT_NE(first, second);
  EXPECT_FALSE(harness.cache->prefix_cache().is_awaited(first));
}

class PrefixCacheReturnsStore : public ::testing::Test {
 protected:
  // Four of five pages are only in the store; seven of eight in memory hold what nobody waits for.
  void SetUp() override {
    harness_.run_and_release(tokens_);
    harness_.drain();
    harness_.run_and_release(count_from(5000, 112));
    ASSERT_EQ(harness_.cache->prefix_cache().stats().num_swapped, 4);
    id_ = harness_.cache->await_return({}, TokenKeys(tokens_), 80, 10);
    harness_.store->num_reads = 0;
  }

  const Tokens tokens_ = count_from(0, 80);
  CacheHarness harness_{8, {}, 64};
  ReturnId id_ = kNoReturn;
};

TEST_F(PrefixCacheReturnsStore, PagesAreReadBeforeTheyAreNeeded) {
  EXPECT_EQ(harness_.cache->prefetch(id_, 2, 0), 2);
  harness_.drain();
  EXPECT_EQ(harness_.store->num_reads, 2);
  EXPECT_EQ(harness_.cache->peek({}, TokenKeys(tokens_), 80).num_resident, 48) << "in order";
  EXPECT_EQ(harness_.cache->prefetch(id_, 100, 0), 2) << "as many as there are";
  harness_.drain();
  harness_.cache->check_invariants();
  const KvHandle handle = harness_.run(tokens_);
  EXPECT_EQ(harness_.last_hit.num_swapped, 0);
  EXPECT_EQ(harness_.last_hit.num_resident, 79);
  harness_.expect_holds(handle, tokens_);
  EXPECT_EQ(harness_.store->num_reads, 4);
}

TEST_F(PrefixCacheReturnsStore, ReservedPagesStayFree) {
  const KvHandle busy = harness_.run(count_from(9000, 64));  // nothing is left that nobody uses
  harness_.cache->release(harness_.run(count_from(9000, 64)));
  const int32_t num_free = harness_.cache->num_free_pages();
  const auto num_unused = harness_.cache->prefix_cache().stats().num_cached;
  const int32_t num_read = harness_.cache->prefetch(id_, 100, num_free);
  EXPECT_LE(num_read, num_unused) << "only in place of what nobody comes back for";
  EXPECT_EQ(harness_.cache->num_free_pages(), num_free);
  harness_.drain();
  harness_.cache->release(busy);
  harness_.cache->check_invariants();
}

TEST_F(PrefixCacheReturnsStore, NothingIsReadInPlaceOfWhatAnotherComesBackFor) {
  const Tokens other = count_from(5000, 112);
  ASSERT_NE(harness_.cache->await_return({}, TokenKeys(other), 112, 99), kNoReturn);
  ASSERT_EQ(harness_.cache->num_free_pages(), 0);
  EXPECT_EQ(harness_.cache->prefetch(id_, 100, 0), 0);
}

TEST_F(PrefixCacheReturnsStore, LostPagesAreForgotten) {
  harness_.store->damage_all();
  ASSERT_EQ(harness_.cache->prefetch(id_, 100, 0), 4);
  harness_.drain();
  harness_.cache->check_invariants();
  EXPECT_EQ(harness_.found(tokens_), 16);
  if (harness_.cache->prefix_cache().is_awaited(id_)) harness_.cache->forget_return(id_);
  harness_.cache->check_invariants();
}

}  // namespace
}  // namespace pagoda
