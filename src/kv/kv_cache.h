// PagedAttention's block tables (Kwon et al., SOSP 2023, section 4): which pages hold a sequence's K and V.
// Pages are taken on demand, shared by forks, copied on the first write to a shared one. A page that is full
// can be published: then it is the prefix cache's (prefix_cache.h), which keeps it while there is room, and
// other sequences that begin with the same tokens share it.
//
// Invariant: each page is either free or held, by ref_count(page) holders: block tables and, for published
// ones, the prefix cache. One with more than one holder is never written. check_invariants() verifies it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kv/kv_pool.h"
#include "kv/page_allocator.h"
#include "kv/prefix_cache.h"

namespace pagoda {

// A block table in the cache. Small integers, reused after release.
using KvHandle = int32_t;

// Not thread-safe: the engine thread owns it. After warm-up (tables sized at construction) nothing is
// allocated.
class KvCache {
 public:
  // max_tables block tables of at most max_context tokens each, over `pool`, which must outlive the cache.
  KvCache(KvPool& pool, int32_t max_tables, int64_t max_context, const PrefixCacheOptions& prefix = {});
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  // An empty table of a sequence that lives in `prefix`; the caller may hold at most max_tables, those that
  // release() is not done with included.
  KvHandle create(const PrefixNamespace& prefix = {});
  // Frees the table and its share of the pages: at once, or when what is being read for it has come.
  void release(KvHandle handle);
  // Likewise, for a sequence that will come back: its last page, if it is not full, is kept for it while
  // there is room.
  TailId release_until_return(KvHandle handle);
  // Appends the page to a table that has all before it again, unless that page has gone or has tokens beyond
  // max_tokens. Uses the tail up in any case.
  void restore_tail(KvHandle handle, TailId id, int64_t max_tokens);
  // The length that restore_tail() would give a table of `length` tokens.
  int64_t length_with_tail(int64_t length, TailId id, int64_t max_tokens) const;
  void drop_tail(TailId id) { prefix_.drop_tail(id); }

  // What of a sequence's first max_tokens tokens is known; changes nothing.
  PrefixHit peek(const PrefixNamespace& prefix, const KeySource& keys, int64_t max_tokens) const;
  // Puts what is known into an empty table: its length grows by what was found. What the store has is being
  // read then, see settle().
  PrefixHit attach(KvHandle handle, const KeySource& keys, int64_t max_tokens);
  // For a sequence that has given up its table and will come back; see PrefixCache.
  ReturnId await_return(const PrefixNamespace& prefix, const KeySource& keys, int64_t max_tokens,
                        double when) {
    return prefix_.await_return(prefix, keys, max_tokens, when);
  }
  void expect_return(ReturnId id, double when) { prefix_.expect_return(id, when); }
  void forget_return(ReturnId id) { prefix_.forget_return(id); }
  int32_t prefetch(ReturnId id, int32_t max_pages, int32_t num_reserved_pages) {
    return prefix_.prefetch(id, max_pages, num_reserved_pages);
  }
  // Full pages below the length become the prefix cache's. The page table may change: a page that the cache
  // has already takes the place of its double.
  void publish(KvHandle handle, const KeySource& keys);
  // Whether all that was attached is there. Cuts the table where something could not be read back.
  bool settle(KvHandle handle);
  // Goes on with reading and storing; never waits. To be called once a step.
  void pump();
  // Begins the reads that were asked for since.
  void begin_reads() { prefix_.begin_reads(); }
  // What time it is from now on, for the statistics of the prefix cache.
  void set_time(int64_t now_ns) { prefix_.set_time(now_ns); }

  // Makes positions [length, new_length) writable: takes pages and, if the last page is shared, copies it.
  // All or nothing: false when too few pages are available, and then nothing has changed. Does not move the
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
  // Tokens from the first one on whose pages are the prefix cache's.
  int64_t published_length(KvHandle handle) const;
  // Pages of positions 0..15, 16..31, …; valid until the next change of this table.
  std::span<const PageId> page_table(KvHandle handle) const;

  // That can be had: free ones, and those which the prefix cache would give up.
  int32_t num_available_pages() const { return allocator_.num_free() + prefix_.num_evictable(); }
  int32_t num_free_pages() const { return allocator_.num_free(); }
  int32_t num_pages() const { return allocator_.num_pages(); }
  // Pages from here on have never been used.
  PageId frontier() const { return allocator_.frontier(); }
  // Tables that were released and wait for what is being read.
  int32_t num_closing() const { return static_cast<int32_t>(closing_.size()); }
  int32_t max_tables() const { return static_cast<int32_t>(tables_.size()); }
  const PrefixCache& prefix_cache() const { return prefix_; }
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
    PrefixCursor cursor;
    bool in_use = false;
  };
  Table& table(KvHandle handle);
  const Table& table(KvHandle handle) const;
  // Whether the page that position `length` falls in is partly filled and shared.
  bool last_page_needs_copy(const Table& table) const;
  // A page of the caller's own; some page must be free.
  PageId take_page();
  void give_up(PageId page);
  bool is_being_read(const Table& table) const;
  void free_table(KvHandle handle);

  KvPool* pool_;
  int64_t max_context_;
  PageAllocator allocator_;
  PrefixCache prefix_;
  std::vector<Table> tables_;
  std::vector<KvHandle> free_tables_;
  std::vector<KvHandle> closing_;
};

}  // namespace pagoda
