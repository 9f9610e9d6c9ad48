// Random operations on everything of the KV cache at once: sequences that share beginnings come, grow, fork,
// are cut and go; pages are evicted, stored, read back, damaged. The oracle is a trie of strings: the set of
// all beginnings that were ever published. Whatever a hit returns must be one of them and hold what was
// written.
#include <random>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "kv/cache_harness.h"

namespace pagoda {
namespace {

using testing::CacheHarness;
using testing::TokenKeys;
using testing::Tokens;

constexpr int32_t kNumPages = 24;
constexpr size_t kMostTables = 6;

class RandomPrefixCache {
 public:
  RandomPrefixCache(uint32_t seed, Eviction eviction, int32_t num_slots)
      : harness_(kNumPages, {.eviction = eviction, .attention_share = 0.01, .fingerprint = {7, 7}},
                 num_slots),
        random_(seed) {}

  void run(int num_operations) {
    for (int i = 0; i < num_operations; ++i) {
      do_one();
      if (::testing::Test::HasFatalFailure()) return;
      harness_.cache->check_invariants();
    }
    while (!sequences_.empty()) release(0);
    if (harness_.store) harness_.store->num_may_end = int64_t{1} << 60;
    for (int i = 0; i < 100; ++i) harness_.cache->pump();
    harness_.cache->check_invariants();
    EXPECT_EQ(harness_.cache->num_available_pages(), kNumPages);
    EXPECT_GT(num_hits_, 0);
    EXPECT_GT(num_tails_restored_, 0);
  }

 private:
  struct Sequence {
    KvHandle handle = -1;
    int32_t salt = 0;
    Tokens tokens;
    bool settled = false;
    TailId tail = kNoTail;  // while it is away
  };

  int64_t below(int64_t bound) { return std::uniform_int_distribution<int64_t>(0, bound - 1)(random_); }
  PrefixNamespace space_of(int32_t salt) const { return {.salt = salt == 0 ? "" : std::to_string(salt)}; }
  // Few different beginnings, so that they meet: pages of one of two kinds each.
  void extend(Tokens& tokens, int64_t num_tokens) {
    for (int64_t i = 0; i < num_tokens; ++i) {
      if (tokens.size() % kPageTokens == 0) kind_ = static_cast<KeyToken>(below(10) == 0 ? below(4) : 0);
      tokens.push_back(kind_ * 64 + tokens.size() % 64);
    }
  }

  void do_one() {
    const int64_t what = below(100);
    if (harness_.store && what < 30) {
      harness_.store->num_may_end = below(4);
      if (below(50) == 0) harness_.store->damage_all();
      harness_.store->failing = below(20) == 0;
      harness_.cache->pump();
    } else if (sequences_.empty() || (what < 45 && sequences_.size() < kMostTables)) {
      start();
    } else if (what < 50 && sequences_.size() < kMostTables) {
      fork(static_cast<size_t>(below(std::ssize(sequences_))));
    } else if (what < 54) {
      change_returns();
    } else if (what < 62) {
      release(static_cast<size_t>(below(std::ssize(sequences_))));
    } else if (what < 68) {
      truncate(sequences_[static_cast<size_t>(below(std::ssize(sequences_)))]);
    } else {
      grow(sequences_[static_cast<size_t>(below(std::ssize(sequences_)))]);
    }
  }

  // Sequences come back, or do not, and some are fetched from the store.
  void change_returns() {
    const PrefixCache& cache = harness_.cache->prefix_cache();
    std::erase_if(returns_, [&](ReturnId id) { return !cache.is_awaited(id); });
    const int64_t what = below(4);
    if (what == 0 && !sequences_.empty()) {
      const Sequence& sequence = sequences_[static_cast<size_t>(below(std::ssize(sequences_)))];
      const ReturnId id =
          harness_.cache->await_return(space_of(sequence.salt), TokenKeys(sequence.tokens),
                                       std::ssize(sequence.tokens), static_cast<double>(below(100)));
      if (id != kNoReturn) returns_.push_back(id);
    }
    if (returns_.empty()) return;
    const ReturnId id = returns_[static_cast<size_t>(below(std::ssize(returns_)))];
    if (what == 1) harness_.cache->expect_return(id, static_cast<double>(below(100)));
    if (what == 2) harness_.cache->prefetch(id, static_cast<int32_t>(below(5)), 0);
    if (what == 3) {
      harness_.cache->forget_return(id);
      std::erase(returns_, id);
    }
  }

  void start() {
    if (harness_.cache->num_closing() > 0 && below(2) == 0) return;
    Sequence sequence{.salt = static_cast<int32_t>(below(3))};
    if (!away_.empty() && below(2) == 0) {
      const auto place = static_cast<size_t>(below(std::ssize(away_)));
      sequence = std::move(away_[place]);
      away_.erase(away_.begin() + static_cast<int64_t>(place));
    }
    extend(sequence.tokens, 1 + below(sequence.tokens.empty() ? 130 : 20));
    sequence.handle = harness_.cache->create(space_of(sequence.salt));
    const int64_t limit = std::ssize(sequence.tokens) - 1;
    const PrefixHit hit = harness_.cache->attach(sequence.handle, TokenKeys(sequence.tokens), limit);
    ASSERT_LE(hit.num_tokens(), limit);
    const int64_t num_full = (hit.num_tokens() + kPageTokens - 1) / kPageTokens * kPageTokens;
    if (hit.num_tokens() > 0) {
      ++num_hits_;
      ASSERT_TRUE(published_.contains(name(sequence, num_full))) << "nobody ever published this";
    }
    const TailId tail = std::exchange(sequence.tail, kNoTail);
    const int64_t expected = harness_.cache->length_with_tail(hit.num_tokens(), tail, limit);
    harness_.cache->restore_tail(sequence.handle, tail, limit);
    ASSERT_EQ(harness_.cache->length(sequence.handle), expected);
    if (expected > hit.num_tokens()) ++num_tails_restored_;
    sequences_.push_back(std::move(sequence));
    settle(sequences_.back());
  }

  void settle(Sequence& sequence) {
    if (!sequence.settled) sequence.settled = harness_.cache->settle(sequence.handle);
    if (sequence.settled) harness_.expect_holds(sequence.handle, sequence.tokens);
  }

  // Computes all known tokens, or as many as there are pages for.
  void grow(Sequence& sequence) {
    settle(sequence);
    if (!sequence.settled) return;
    const int64_t length = harness_.cache->length(sequence.handle);
    if (length == std::ssize(sequence.tokens)) extend(sequence.tokens, 1 + below(20));
    if (std::ssize(sequence.tokens) > 300) sequence.tokens.resize(300);
    const int64_t target = std::min(length + 1 + below(40), std::ssize(sequence.tokens));
    if (target <= length) return;
    const bool fits =
        harness_.cache->pages_needed(sequence.handle, target) <= harness_.cache->num_available_pages();
    if (!fits) {
      ASSERT_FALSE(harness_.cache->reserve(sequence.handle, target));
      return;
    }
    const Tokens known(sequence.tokens.begin(), sequence.tokens.begin() + target);
    for (int64_t end = length / kPageTokens * kPageTokens + kPageTokens; end <= target; end += kPageTokens)
      published_.insert(name(sequence, end));
    harness_.compute(sequence.handle, known);
    harness_.expect_holds(sequence.handle, sequence.tokens);
  }

  void fork(size_t index) {
    settle(sequences_[index]);
    if (!sequences_[index].settled) return;
    Sequence child = sequences_[index];
    child.handle = harness_.cache->fork(child.handle);
    child.tokens.resize(static_cast<size_t>(harness_.cache->length(child.handle)));
    extend(child.tokens, 1 + below(30));
    sequences_.push_back(std::move(child));
  }

  void truncate(Sequence& sequence) {
    settle(sequence);
    if (!sequence.settled) return;
    const int64_t length = below(harness_.cache->length(sequence.handle) + 1);
    harness_.cache->truncate(sequence.handle, length);
    sequence.tokens.resize(static_cast<size_t>(length));
    extend(sequence.tokens, 1 + below(30));
  }

  void release(size_t index) {
    if (sequences_[index].settled) harness_.expect_holds(sequences_[index].handle, sequences_[index].tokens);
    Sequence sequence = std::move(sequences_[index]);
    sequences_.erase(sequences_.begin() + static_cast<int64_t>(index));
    if (below(2) == 0) return harness_.cache->release(sequence.handle);
    sequence.tail = harness_.cache->release_until_return(sequence.handle);
    sequence.settled = false;
    if (below(4) == 0)
      harness_.cache->drop_tail(sequence.tail);
    else
      away_.push_back(std::move(sequence));
  }

  std::string name(const Sequence& sequence, int64_t num_tokens) const {
    std::string text = std::to_string(sequence.salt);
    for (int64_t i = 0; i < num_tokens; ++i)
      text.push_back(static_cast<char>(sequence.tokens[static_cast<size_t>(i)]));
    return text;
  }

  CacheHarness harness_;
  std::mt19937 random_;
  std::vector<ReturnId> returns_;
  std::vector<Sequence> sequences_;
  std::vector<Sequence> away_;  // without a table
  std::set<std::string> published_;
  KeyToken kind_ = 0;
  int64_t num_hits_ = 0;
  int64_t num_tails_restored_ = 0;
};

// Ten runs of 100,000 operations each: with and without a store, one that is too small, both orders of
// eviction.
class PrefixCacheRandom : public ::testing::TestWithParam<int> {};

TEST_P(PrefixCacheRandom, NeverReturnsAnotherPrefix) {
  const int run = GetParam();
  const int32_t num_slots = run % 3 == 0 ? 0 : run % 3 == 1 ? 60 : 9;
  RandomPrefixCache cache(static_cast<uint32_t>(run + 1), run % 2 == 0 ? Eviction::cost : Eviction::lru,
                          num_slots);
  cache.run(100'000);
}

INSTANTIATE_TEST_SUITE_P(Seeds, PrefixCacheRandom, ::testing::Range(0, 10));

}  // namespace
}  // namespace pagoda
