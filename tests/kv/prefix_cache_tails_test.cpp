// The last, partly filled pages of sequences that have given up their tables and will come back.
#include <gtest/gtest.h>

#include "kv/cache_harness.h"

namespace pagoda {
namespace {

using testing::CacheHarness;
using testing::count_from;
using testing::TokenKeys;
using testing::Tokens;

// The sequence computes its tokens and gives up its table.
TailId run_and_leave(CacheHarness& harness, const Tokens& tokens) {
  const TailId tail = harness.cache->release_until_return(harness.run(tokens));
  harness.cache->check_invariants();
  return tail;
}

// It comes back with one token more.
KvHandle come_back(CacheHarness& harness, Tokens tokens, TailId tail) {
  const int64_t limit = std::ssize(tokens);
  tokens.push_back(7);
  const KvHandle handle = harness.cache->create();
  harness.cache->attach(handle, TokenKeys(tokens), limit);
  harness.cache->restore_tail(handle, tail, limit);
  harness.expect_holds(handle, tokens);
  harness.cache->check_invariants();
  return handle;
}

TEST(PrefixCacheTails, ASequenceFindsAllOfItsTokens) {
  CacheHarness harness(8);
  for (const size_t num_tokens : {5, 16, 17, 47}) {
    const Tokens tokens = count_from(1000 * num_tokens, num_tokens);
    const TailId tail = run_and_leave(harness, tokens);
    EXPECT_EQ(harness.cache->num_available_pages(), 8) << "it holds nothing meanwhile";
    const KvHandle handle = come_back(harness, tokens, tail);
    EXPECT_EQ(harness.cache->length(handle), static_cast<int64_t>(num_tokens));
    harness.cache->release(handle);
    harness.cache->check_invariants();
  }
}

TEST(PrefixCacheTails, WhatIsWrittenAfterIsTheSequences) {
  CacheHarness harness(8);
  Tokens tokens = count_from(0, 20);
  const KvHandle handle = come_back(harness, tokens, run_and_leave(harness, tokens));
  tokens = count_from(0, 40);
  harness.compute(handle, tokens);
  harness.expect_holds(handle, tokens);
  EXPECT_EQ(harness.found(tokens), 32);
}

TEST(PrefixCacheTails, GoAfterWhatNobodyComesBackForAndBeforeWhatIsAwaited) {
  CacheHarness harness(8);
  const Tokens tokens = count_from(0, 40);
  const TailId tail = run_and_leave(harness, tokens);
  EXPECT_NE(harness.cache->await_return({}, TokenKeys(tokens), 40, 1), kNoReturn);
  harness.run_and_release(count_from(1000, 48));
  harness.run_and_release(count_from(2000, 80));
  EXPECT_NE(harness.cache->prefix_cache().find_tail(tail), nullptr);
  harness.run_and_release(count_from(3000, 96));
  EXPECT_EQ(harness.cache->prefix_cache().find_tail(tail), nullptr);
  const KvHandle handle = come_back(harness, tokens, tail);
  EXPECT_EQ(harness.cache->length(handle), 32);
}

TEST(PrefixCacheTails, AreOfNoUseWithoutThePagesBefore) {
  CacheHarness harness(4);
  const Tokens tokens = count_from(0, 40);
  const TailId tail = run_and_leave(harness, tokens);
  harness.run_and_release(count_from(1000, 48));  // nobody awaits the full ones
  EXPECT_NE(harness.cache->prefix_cache().find_tail(tail), nullptr);
  const KvHandle handle = come_back(harness, tokens, tail);
  EXPECT_LT(harness.cache->length(handle), 32);
  EXPECT_EQ(harness.cache->prefix_cache().find_tail(tail), nullptr);
}

TEST(PrefixCacheTails, TokensBeyondTheLimitAreComputedAgain) {
  CacheHarness harness(4);
  const Tokens tokens = count_from(0, 20);
  const TailId tail = run_and_leave(harness, tokens);
  EXPECT_EQ(harness.cache->length_with_tail(16, tail, 20), 20);
  EXPECT_EQ(harness.cache->length_with_tail(16, tail, 19), 16);
  EXPECT_EQ(harness.cache->length_with_tail(0, tail, 20), 0);
}

TEST(PrefixCacheTails, SharedAndUnwantedOnesAreNotKept) {
  CacheHarness harness(8);
  const KvHandle handle = harness.run(count_from(0, 20));
  const KvHandle fork = harness.cache->fork(handle);
  EXPECT_EQ(harness.cache->release_until_return(handle), kNoTail);
  EXPECT_NE(harness.cache->release_until_return(fork), kNoTail);
  CacheHarness keeps_nothing(8, {.awaits_returns = false});
  EXPECT_EQ(run_and_leave(keeps_nothing, count_from(0, 20)), kNoTail);
}

TEST(PrefixCacheTails, TheOldestMakesRoomForOneTooMany) {
  CacheHarness harness(1100);
  std::vector<TailId> tails;
  for (KeyToken i = 0; i <= 1024; ++i) tails.push_back(run_and_leave(harness, count_from(100 * i, 5)));
  EXPECT_EQ(harness.cache->prefix_cache().find_tail(tails.front()), nullptr);
  EXPECT_NE(harness.cache->prefix_cache().find_tail(tails[1]), nullptr);
  EXPECT_NE(harness.cache->prefix_cache().find_tail(tails.back()), nullptr);
}

}  // namespace
}  // namespace pagoda
