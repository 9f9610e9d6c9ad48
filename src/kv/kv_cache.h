// PagedAttention's block tables (Kwon et al., SOSP 2023, section 4): which pages hold a sequence's K and V.
// Pages are taken on demand, shared by forks, copied on the first write to a shared one, and freed at once.
//
// Invariant: each page is either free or held by ref_count(page) block tables; a page with more than one
// holder is never written. check_invariants() verifies it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kv/kv_pool.h"
#include "kv/page_allocator.h"

namespace pagoda {

// Pages that hold num_tokens tokens.
constexpr int64_t pages_for(int64_t num_tokens) {
  return (num_tokens + kPageTokens - 1) / kPageTokens;
}

// A block table in the cache. Small integers, reused after release.
using KvHandle = int32_t;

// Not thread-safe: the engine thread owns it. After warm-up (tables sized at construction) nothing is
// allocated.
class KvCache {
 public:
  // max_tables block tables of at most max_context tokens each, over `pool`, which must outlive the cache.
  KvCache(KvPool& pool, int32_t max_tables, int64_t max_context);

  // An empty table; the caller may hold at most max_tables.
  KvHandle create();
  // Frees the table and its share of the pages.
  void release(KvHandle handle);

  // Makes positions [length, new_length) writable: takes pages and, if the last page is shared, copies it.
  // All or nothing: false when too few pages are free, and then nothing has changed. Does not move the
  // length.
  bool reserve(KvHandle handle, int64_t new_length);
  // Pages that reserve would take (the copy of a shared last page included).
  int64_t pages_needed(KvHandle handle, int64_t new_length) const;
  // After a forward pass: positions below new_length now hold K and V. Must have been reserved.
  void commit(KvHandle handle, int64_t new_length);
  // Forgets positions from new_length on and frees pages that hold nothing else (reserved ones too).
  void truncate(KvHandle handle, int64_t new_length);
  // A second table that shares all pages of this one up to its length. What was reserved in a page that is
  // now shared must be reserved anew.
  KvHandle fork(KvHandle handle);

  int64_t length(KvHandle handle) const;
  // Pages of positions 0..15, 16..31, …; valid until the next change of this table.
  std::span<const PageId> page_table(KvHandle handle) const;

  int32_t num_free_pages() const { return allocator_.num_free(); }
  int32_t num_pages() const { return allocator_.num_pages(); }
  // Tokens held, shared ones counted once. For tests and reports: takes time and memory in proportion to the
  // pool.
  int64_t live_tokens() const;
  // Aborts with the offending page or table if a reference count, a length or the free list is wrong.
  // Likewise slow.
  void check_invariants() const;

 private:
  struct Table {
    std::vector<PageId> pages;  // capacity for max_context from the start
    int64_t length = 0;
    bool in_use = false;
  };
  Table& table(KvHandle handle);
  const Table& table(KvHandle handle) const;
  // Whether the page that position `length` falls in is partly filled and shared.
  bool last_page_needs_copy(const Table& table) const;
  // A page of the caller's own; some page must be free.
  PageId take_page();

  KvPool* pool_;
  int64_t max_context_;
  PageAllocator allocator_;
  std::vector<Table> tables_;
  std::vector<KvHandle> free_tables_;
};

}  // namespace pagoda
