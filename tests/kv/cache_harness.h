// A KvCache whose pages hold what was written to them: each position its token, so that a test can read back
// whose page it got.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "kv/kv_cache.h"
#include "kv/pool_memory.h"
#include "support/memory_page_store.h"

namespace pagoda::testing {

using Tokens = std::vector<KeyToken>;

class TokenKeys final : public KeySource {
 public:
  explicit TokenKeys(const Tokens& tokens) : tokens_(tokens) {}
  int64_t num_tokens() const override { return std::ssize(tokens_); }
  PageTokens page(int64_t index) const override {
    PageTokens page;
    for (size_t i = 0; i < page.size(); ++i)
      page[i] = tokens_.at(static_cast<size_t>(index) * kPageTokens + i);
    return page;
  }

 private:
  const Tokens& tokens_;
};

// begin, begin + 1, …
inline Tokens count_from(KeyToken begin, size_t num_tokens) {
  Tokens tokens(num_tokens);
  for (size_t i = 0; i < num_tokens; ++i) tokens[i] = begin + i;
  return tokens;
}

struct CacheHarness {
  static constexpr KvShape kShape = {.num_layers = 2, .num_kv_heads = 1, .head_dim = 2, .type = KvType::f32};

  explicit CacheHarness(int32_t num_pages, PrefixCacheOptions options = {}, int32_t num_slots = 0,
                        const MemoryPageStore* before = nullptr)
      : pool(*KvPool::create(kShape, num_pages)), memory(pool) {
    if (num_slots > 0) store = std::make_unique<MemoryPageStore>(memory, num_slots);
    if (before) before->move_contents_to(*store);
    options.store = store.get();
    cache = std::make_unique<KvCache>(pool, 16, 400, options);
  }

  // The sequence takes what the cache has of its first max_tokens tokens and computes the rest.
  KvHandle run(const Tokens& tokens, const PrefixNamespace& prefix = {}) {
    const KvHandle handle = cache->create(prefix);
    last_hit = cache->attach(handle, TokenKeys(tokens), std::ssize(tokens) - 1);
    settle(handle);
    compute(handle, tokens);
    return handle;
  }
  void settle(KvHandle handle) {
    while (!cache->settle(handle)) cache->pump();
  }
  // Positions from the table's length on.
  void compute(KvHandle handle, const Tokens& tokens) {
    const int64_t length = cache->length(handle);
    ASSERT_TRUE(cache->reserve(handle, std::ssize(tokens)));
    for (int64_t position = length; position < std::ssize(tokens); ++position) {
      cell(handle, position, 0) = static_cast<float>(tokens[static_cast<size_t>(position)] & 0xffffff);
      cell(handle, position, 1) = static_cast<float>(position);
    }
    cache->commit(handle, std::ssize(tokens));
    cache->publish(handle, TokenKeys(tokens));
  }
  void run_and_release(const Tokens& tokens, const PrefixNamespace& prefix = {}) {
    const KvHandle handle = run(tokens, prefix);
    expect_holds(handle, tokens);
    cache->release(handle);
    cache->check_invariants();
  }
  void expect_holds(KvHandle handle, const Tokens& tokens) {
    for (int64_t position = 0; position < std::min(cache->length(handle), std::ssize(tokens)); ++position) {
      ASSERT_EQ(cell(handle, position, 0),
                static_cast<float>(tokens[static_cast<size_t>(position)] & 0xffffff))
          << "position " << position;
      ASSERT_EQ(cell(handle, position, 1), static_cast<float>(position)) << "position " << position;
    }
  }
  float& cell(KvHandle handle, int64_t position, int layer) {
    const PageId page = cache->page_table(handle)[static_cast<size_t>(position / kPageTokens)];
    return reinterpret_cast<float*>(pool.layer(layer).k_plane(page, 0))[position % kPageTokens * 2];
  }
  int64_t found(const Tokens& tokens, const PrefixNamespace& prefix = {}) const {
    return cache->peek(prefix, TokenKeys(tokens), std::ssize(tokens)).num_tokens();
  }
  void drain() {
    do cache->pump();
    while (cache->prefix_cache().is_writing() || cache->prefix_cache().is_reading());
  }

  KvPool pool;
  PoolMemory memory;
  std::unique_ptr<MemoryPageStore> store;
  std::unique_ptr<KvCache> cache;
  PrefixHit last_hit;
};

}  // namespace pagoda::testing
