// The prefix cache over a pool whose pages hold their tokens. Tests named after a trap stand for a mistake
// that another engine has made.
#include <algorithm>
#include <numeric>

#include <gtest/gtest.h>

#include "kv/cache_harness.h"

namespace pagoda {
namespace {

using testing::CacheHarness;
using testing::count_from;
using testing::TokenKeys;
using testing::Tokens;

TEST(PrefixCache, SequencesThatBeginAlikeShareFullPages) {
  CacheHarness harness(16);
  const KvHandle first = harness.run(count_from(0, 40));
  EXPECT_EQ(harness.last_hit.num_tokens(), 0);
  Tokens other = count_from(0, 50);
  other[33] = 999;
  const KvHandle second = harness.run(other);
  EXPECT_EQ(harness.last_hit.num_resident, 32);
  EXPECT_EQ(harness.cache->page_table(first)[1], harness.cache->page_table(second)[1]);
  EXPECT_NE(harness.cache->page_table(first)[2], harness.cache->page_table(second)[2]);
  harness.expect_holds(first, count_from(0, 40));
  harness.expect_holds(second, other);
  EXPECT_EQ(harness.cache->live_tokens(), 32 + 8 + 18);
  harness.cache->check_invariants();
}

TEST(PrefixCache, PagesOutliveTheirSequencesAndMakeRoomForOthers) {
  CacheHarness harness(4);
  harness.run_and_release(count_from(0, 60));
  EXPECT_EQ(harness.cache->num_available_pages(), 4);
  EXPECT_EQ(harness.cache->prefix_cache().stats().num_cached, 3);
  EXPECT_EQ(harness.found(count_from(0, 60)), 48);
  harness.run_and_release(count_from(1000, 64));
  EXPECT_EQ(harness.found(count_from(0, 60)), 0);
  EXPECT_EQ(harness.found(count_from(1000, 64)), 64);
}

TEST(PrefixCache, NothingIsKeptWhenItIsOff) {
  CacheHarness harness(8, {.enabled = false});
  harness.run_and_release(count_from(0, 60));
  EXPECT_EQ(harness.found(count_from(0, 60)), 0);
  EXPECT_EQ(harness.cache->num_free_pages(), 8);
}

TEST(PrefixCache, TellsHowLongPagesLieUnused) {
  constexpr int64_t kSecond = 1'000'000'000;
  CacheHarness harness(4);
  const auto at = [&](int64_t seconds) { harness.cache->set_time(seconds * kSecond); };
  const auto residency = [&] { return harness.cache->prefix_cache().stats().residency; };
  const auto count = [](const ResidencyHistogram& histogram) {
    return std::accumulate(histogram.counts.begin(), histogram.counts.end(), uint64_t{0});
  };
  at(10);
  const KvHandle first = harness.run(count_from(0, 20));  // one full page
  at(12);
  const KvHandle second = harness.run(count_from(0, 20));
  EXPECT_EQ(count(residency().reuse), 0u) << "it was in use";
  harness.cache->release(first);
  at(15);
  harness.cache->release(second);
  at(22);
  harness.run_and_release(count_from(0, 20));
  EXPECT_EQ(count(residency().reuse), 1u);
  EXPECT_DOUBLE_EQ(residency().reuse.sum, 22 - 15);
  EXPECT_EQ(count(residency().lifetime), 0u);
  at(52);
  harness.run_and_release(count_from(1000, 64));  // takes all pages
  EXPECT_EQ(count(residency().lifetime), 1u);
  EXPECT_EQ(count(residency().idle), 1u);
  EXPECT_DOUBLE_EQ(residency().lifetime.sum, 52 - 10);
  EXPECT_DOUBLE_EQ(residency().idle.sum, 52 - 22);
  const auto bound = std::ranges::find(ResidencyHistogram::kSeconds, 30.0);
  EXPECT_EQ(residency().idle.counts[static_cast<size_t>(bound - ResidencyHistogram::kSeconds.begin())], 1u)
      << "a bound belongs to its bucket";
}

TEST(PrefixCache, DoublesBecomeOnePage) {
  CacheHarness harness(16);
  const Tokens tokens = count_from(0, 40);
  const KvHandle first = harness.cache->create();
  const KvHandle second = harness.cache->create();
  harness.compute(first, tokens);
  EXPECT_EQ(harness.cache->num_free_pages(), 13);
  harness.compute(second, tokens);
  EXPECT_EQ(harness.cache->num_free_pages(), 12) << "both computed all; one set of full pages is left";
  EXPECT_EQ(harness.cache->page_table(first)[0], harness.cache->page_table(second)[0]);
  harness.expect_holds(second, tokens);
  harness.cache->check_invariants();
}

TEST(PrefixCache, ForksShareThePathAndGoTheirOwnWays) {
  CacheHarness harness(16);
  Tokens left = count_from(0, 40);
  Tokens right = left;
  const KvHandle parent = harness.run(left);
  const KvHandle child = harness.cache->fork(parent);
  for (KeyToken i = 0; i < 20; ++i) {
    left.push_back(500 + i);
    right.push_back(700 + i);
  }
  harness.compute(parent, left);
  harness.compute(child, right);
  harness.expect_holds(parent, left);
  harness.expect_holds(child, right);
  harness.cache->release(parent);
  harness.cache->release(child);
  EXPECT_EQ(harness.found(left), 48);
  EXPECT_EQ(harness.found(right), 48);
  harness.cache->check_invariants();
}

// ---- traps ----

TEST(PrefixCacheTrap, AHitComparesTheTokensOfEveryPage) {
  CacheHarness harness(64);
  harness.run_and_release(count_from(0, 64));
  for (size_t position = 0; position < 64; ++position) {
    Tokens other = count_from(0, 64);
    other[position] += 1000;
    EXPECT_EQ(harness.found(other), static_cast<int64_t>(position / kPageTokens) * kPageTokens);
  }
  // The same page of tokens after another beginning is another page.
  Tokens moved = count_from(100, 16);
  for (const KeyToken token : count_from(16, 16)) moved.push_back(token);
  EXPECT_EQ(harness.found(moved), 0);
}

TEST(PrefixCacheTrap, AdapterSaltAndFlagsDoNotCollide) {
  CacheHarness harness(64);
  const Tokens tokens = count_from(0, 33);
  const PrefixNamespace spaces[] = {{},
                                    {.adapter = "x"},
                                    {.salt = "x"},
                                    {.adapter = "x", .salt = "x"},
                                    {.adapter = "xx"},
                                    {.salt = "xx"},
                                    {.flags = 1}};
  for (const PrefixNamespace& space : spaces) {
    EXPECT_EQ(harness.found(tokens, space), 0);
    harness.run_and_release(tokens, space);
  }
  for (const PrefixNamespace& space : spaces) EXPECT_EQ(harness.found(tokens, space), 32);
}

TEST(PrefixCacheTrap, PartialPagesAreNeverFound) {
  CacheHarness harness(16);
  const KvHandle handle = harness.run(count_from(0, 31));
  EXPECT_EQ(harness.found(count_from(0, 31)), 16);
  harness.compute(handle, count_from(0, 32));
  EXPECT_EQ(harness.found(count_from(0, 32)), 32);
  // A page that was cut and went on otherwise is found by what it holds now.
  harness.cache->truncate(handle, 20);
  Tokens other = count_from(0, 32);
  other[25] = 77;
  harness.compute(handle, other);
  EXPECT_EQ(harness.found(other), 32);
  EXPECT_EQ(harness.found(count_from(0, 32)), 32);
  harness.expect_holds(handle, other);
  harness.run_and_release(count_from(0, 33));
}

TEST(PrefixCacheTrap, ASequenceThatEndsAfterAChunkLeavesGoodPages) {
  CacheHarness harness(16);
  const KvHandle aborted = harness.run(count_from(0, 32));
  ASSERT_TRUE(harness.cache->reserve(aborted, 100));
  harness.cache->release(aborted);
  const KvHandle other = harness.run(count_from(2000, 100));
  const KvHandle again = harness.run(count_from(0, 60));
  EXPECT_EQ(harness.last_hit.num_tokens(), 32);
  harness.expect_holds(again, count_from(0, 60));
  harness.expect_holds(other, count_from(2000, 100));
}

TEST(PrefixCacheTrap, SharedPagesCountOnceAmongTheEvictable) {
  CacheHarness harness(16);
  const KvHandle first = harness.run(count_from(0, 48));
  const KvHandle second = harness.run(count_from(0, 49));
  EXPECT_EQ(harness.cache->num_available_pages(), 16 - 3 - 1);
  harness.cache->release(first);
  EXPECT_EQ(harness.cache->num_available_pages(), 16 - 3 - 1);
  harness.cache->release(second);
  EXPECT_EQ(harness.cache->num_available_pages(), 16);
  EXPECT_EQ(harness.cache->prefix_cache().stats().num_cached, 3);
}

TEST(PrefixCacheTrap, AFullHitComputesOneTokenInAPageOfItsOwn) {
  CacheHarness harness(16);
  const Tokens tokens = count_from(0, 48);
  const KvHandle first = harness.run(tokens);
  const KvHandle second = harness.cache->create();
  const PrefixHit hit = harness.cache->attach(second, TokenKeys(tokens), 47);
  EXPECT_EQ(hit.num_resident, 47);
  ASSERT_TRUE(harness.cache->reserve(second, 48));
  EXPECT_NE(harness.cache->page_table(first)[2], harness.cache->page_table(second)[2]);
  harness.expect_holds(second, tokens);
  harness.compute(second, tokens);
  EXPECT_EQ(harness.cache->page_table(first)[2], harness.cache->page_table(second)[2])
      << "one copy is enough";
  harness.cache->check_invariants();
}

TEST(PrefixCacheTrap, UsingAPageKeepsAllBeforeIt) {
  for (const Eviction eviction : {Eviction::lru, Eviction::cost}) {
    CacheHarness harness(8, {.eviction = eviction});
    harness.run_and_release(count_from(0, 64));
    harness.run_and_release(count_from(1000, 48));
    harness.run_and_release(count_from(0, 65));  // uses the first again
    harness.run_and_release(count_from(5000, 40));
    EXPECT_EQ(harness.found(count_from(0, 64)), 64);
    EXPECT_LT(harness.found(count_from(1000, 48)), 48);
  }
}

TEST(PrefixCacheTrap, EvictionTakesTheTailFirstAndOnlyWhatIsNeeded) {
  CacheHarness harness(8);
  harness.run_and_release(count_from(0, 128));
  for (int64_t needed = 1; needed <= 4; ++needed) {
    const KvHandle handle = harness.cache->create();
    ASSERT_TRUE(harness.cache->reserve(handle, needed * kPageTokens));
    EXPECT_EQ(harness.found(count_from(0, 128)), 128 - needed * kPageTokens);
    harness.cache->release(handle);
    harness.cache->check_invariants();
  }
}

TEST(PrefixCacheTrap, PlaceholdersOfDifferentImagesDiffer) {
  CacheHarness harness(16);
  const auto with_image = [](KeyToken content) {
    Tokens tokens = count_from(0, 48);
    for (size_t i = 16; i < 32; ++i) tokens[i] = kMediaToken | (content * 64 + i);
    return tokens;
  };
  harness.run_and_release(with_image(1));
  EXPECT_EQ(harness.found(with_image(1)), 48);
  EXPECT_EQ(harness.found(with_image(2)), 16);
}

TEST(PrefixCacheTrap, NamespacesWithoutPagesAreForgotten) {
  CacheHarness harness(4);
  for (int i = 0; i < 100; ++i) harness.run_and_release(count_from(0, 33), {.salt = std::to_string(i)});
  EXPECT_LE(harness.cache->prefix_cache().tree().num_roots(), 4u);
}

// ---- with a store ----

TEST(PrefixCacheStore, EvictedPagesComeBack) {
  CacheHarness harness(8, {}, 32);
  harness.run_and_release(count_from(0, 64));
  harness.drain();
  EXPECT_EQ(harness.store->num_writes, 4);
  harness.run_and_release(count_from(1000, 128));
  EXPECT_EQ(harness.cache->prefix_cache().stats().num_swapped, 4);
  const KvHandle handle = harness.run(count_from(0, 70));
  EXPECT_EQ(harness.last_hit.num_swapped, 64);
  harness.expect_holds(handle, count_from(0, 70));
  harness.cache->check_invariants();
}

TEST(PrefixCacheStore, ANewProcessFindsWhatWasStored) {
  CacheHarness before(8, {.fingerprint = {1, 2}}, 32);
  before.run_and_release(count_from(0, 64));
  before.drain();
  CacheHarness after(8, {.fingerprint = {1, 2}}, 32, before.store.get());
  const KvHandle handle = after.run(count_from(0, 70));
  EXPECT_EQ(after.last_hit.num_swapped, 64);
  after.expect_holds(handle, count_from(0, 70));
  after.cache->check_invariants();
  CacheHarness other_model(8, {.fingerprint = {1, 3}}, 32, before.store.get());
  EXPECT_EQ(other_model.found(count_from(0, 70)), 0);
  EXPECT_EQ(other_model.store->num_used(), 0u);
}

TEST(PrefixCacheStore, SaltedPagesStayInMemory) {
  CacheHarness harness(8, {}, 32);
  harness.run_and_release(count_from(0, 64), {.salt = "secret"});
  harness.drain();
  EXPECT_EQ(harness.store->num_writes, 0);
}

TEST(PrefixCacheStore, WhatCannotBeReadIsComputedAgain) {
  CacheHarness harness(8, {}, 32);
  harness.run_and_release(count_from(0, 64));
  harness.drain();
  harness.run_and_release(count_from(1000, 128));
  harness.drain();
  harness.store->damage(1);  // of the second page
  const Tokens tokens = count_from(0, 70);
  const KvHandle handle = harness.cache->create();
  harness.cache->attach(handle, TokenKeys(tokens), 69);
  harness.settle(handle);
  EXPECT_EQ(harness.cache->length(handle), 16);
  harness.compute(handle, tokens);
  harness.expect_holds(handle, tokens);
  harness.cache->release(handle);
  harness.drain();
  harness.cache->check_invariants();
  harness.run_and_release(tokens);
}

TEST(PrefixCacheStore, TwoSequencesReadAPageOnce) {
  CacheHarness harness(8, {}, 32);
  harness.run_and_release(count_from(0, 64));
  harness.drain();
  harness.run_and_release(count_from(1000, 128));
  const Tokens tokens = count_from(0, 70);
  const KvHandle first = harness.cache->create();
  const KvHandle second = harness.cache->create();
  harness.cache->attach(first, TokenKeys(tokens), 69);
  harness.cache->attach(second, TokenKeys(tokens), 69);
  EXPECT_FALSE(harness.cache->settle(first));
  harness.cache->release(first);
  EXPECT_EQ(harness.cache->num_closing(), 1);
  harness.settle(second);
  harness.cache->pump();
  EXPECT_EQ(harness.cache->num_closing(), 0);
  EXPECT_EQ(harness.store->num_reads, 4);
  harness.compute(second, tokens);
  harness.expect_holds(second, tokens);
  harness.cache->check_invariants();
}

// A step begins no more reads than the store has transfers to give; the others wait for a later one.
TEST(PrefixCacheStore, AStepReadsNoMoreThanTheStoreTakesAtOnce) {
  CacheHarness harness(16, {}, 32);
  const Tokens tokens = count_from(0, 128);
  harness.run_and_release(tokens);
  harness.drain();
  harness.run_and_release(count_from(1000, 256));
  harness.drain();
  harness.store->num_may_end = 0;
  const KvHandle handle = harness.cache->create();
  EXPECT_EQ(harness.cache->attach(handle, TokenKeys(tokens), 127).num_swapped, 127);
  for (const int64_t num_ended : {0, 1, 2}) {
    const int64_t num_begun = harness.store->num_reads;
    harness.store->num_may_end = num_ended;
    harness.cache->pump();
    EXPECT_EQ(harness.store->num_reads, num_begun == 0 ? 4 : num_begun + num_ended);
    EXPECT_FALSE(harness.cache->settle(handle));
  }
  harness.store->num_may_end = 100;
  harness.settle(handle);
  harness.compute(handle, tokens);
  harness.expect_holds(handle, tokens);
}

TEST(PrefixCacheStore, AFullStoreGivesUpWhatIsWorthLeast) {
  CacheHarness harness(32, {}, 6);
  harness.run_and_release(count_from(0, 64));
  harness.drain();
  for (int i = 0; i < 3; ++i) harness.run_and_release(count_from(0, 65));
  harness.run_and_release(count_from(1000, 32));
  harness.drain();
  EXPECT_EQ(harness.store->num_used(), 6u);
  harness.run_and_release(count_from(2000, 33));
  harness.drain();
  harness.cache->check_invariants();
  CacheHarness after(32, {}, 6, harness.store.get());
  EXPECT_EQ(after.found(count_from(0, 64)), 64) << "used most";
  EXPECT_EQ(after.found(count_from(2000, 32)), 32);
  EXPECT_EQ(after.found(count_from(1000, 32)), 0);
}

TEST(PrefixCacheStore, AStoreThatTakesNothingMoreIsStillRead) {
  CacheHarness harness(8, {}, 32);
  harness.run_and_release(count_from(0, 64));
  harness.drain();
  harness.store->read_only = true;
  harness.run_and_release(count_from(1000, 128));
  harness.drain();
  harness.run_and_release(count_from(0, 65));
  EXPECT_EQ(harness.last_hit.num_swapped, 64);
}

TEST(PrefixCacheStore, AFailingStoreCostsHitsOnly) {
  CacheHarness harness(8, {}, 32);
  harness.store->failing = true;
  for (int i = 0; i < 5; ++i) {
    harness.run_and_release(count_from(0, 64));
    harness.run_and_release(count_from(1000, 128));
    for (int j = 0; j < 10; ++j) harness.cache->pump();
  }
  harness.store->failing = false;
  harness.run_and_release(count_from(0, 64));
  harness.store->failing = true;
  harness.run_and_release(count_from(1000, 128));
  for (int j = 0; j < 10; ++j) harness.cache->pump();
  harness.cache->check_invariants();
}

}  // namespace
}  // namespace pagoda
