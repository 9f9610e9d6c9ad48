// Which pages outlive their sequences, and for how long. Pages of a sequence enter the tree when they are
// full; from then on they are the tree's, and block tables hold shares of them. Pages that nobody shares stay
// as long as there is room and, with a store, come back from there.
//
// A node of the tree is in one of these states:
//   held      in use by block tables, or being read for them
//   cached    resident and free to be evicted, leaves first
//   swapped   only in the store
//   lost      could not be read back; goes with its last user, and no look-up finds it
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kv/indexed_heap.h"
#include "kv/page_allocator.h"
#include "kv/page_residency.h"
#include "kv/page_store.h"
#include "kv/place_table.h"
#include "kv/radix_tree.h"

namespace pagoda {

// What goes first when room is needed. cost: GreedyDual with frequency (Cherkasova, 1998): saved time x uses,
// aged by what was evicted; all pages have the same bytes. lru: what was used longest ago.
enum class Eviction { cost, lru };

struct PrefixCacheOptions {
  bool enabled = true;
  Eviction eviction = Eviction::cost;
  // Computing the page at position p takes 1 + p x this, in units of the first page's.
  double attention_share = 0;
  Digest fingerprint;          // of all that changes K and V
  PageStore* store = nullptr;  // must outlive the cache
  // Whether the pages of sequences that will come back are kept for them.
  bool awaits_returns = true;
};

// The tokens of a sequence as the cache compares them.
class KeySource {
 public:
  virtual ~KeySource() = default;
  virtual int64_t num_tokens() const = 0;
  // Tokens of positions 16 x index …, all of them known.
  virtual PageTokens page(int64_t index) const = 0;
};

struct PrefixCacheStats {
  uint64_t evicted_pages = 0;  // from memory, what the store keeps included
  uint64_t dropped_pages = 0;  // of those: kept nowhere
  uint64_t stored_pages = 0;   // written
  uint64_t loaded_pages = 0;   // read
  uint64_t lost_pages = 0;     // could not be read back
  int32_t num_cached = 0;      // pages that may be evicted
  int32_t num_swapped = 0;     // nodes that only the store has
  PageResidency residency;
};

// Where a block table's sequence stands in the tree: its first num_pages pages are those of the path to
// `last`.
struct PrefixCursor {
  NodeId root = kNoNode;
  NodeId last = kNoNode;
  int64_t num_pages = 0;
  int64_t num_ready = 0;  // of them, known to be resident
  bool may_be_stored = false;
};

// A sequence that has given up its table and will come back.
using ReturnId = int64_t;  // of a PlaceTable
inline constexpr ReturnId kNoReturn = -1;

// The last page of such a sequence, which is not full.
using TailId = int64_t;  // of a PlaceTable
inline constexpr TailId kNoTail = -1;
struct KeptTail {
  PageId page = kNoPage;
  int64_t first_position = 0;  // of the page
  int64_t end_position = 0;    // of the tokens in it
};

// What of a sequence was found, in tokens.
struct PrefixHit {
  int64_t num_resident = 0;
  int64_t num_swapped = 0;
  int64_t num_held_pages = 0;  // pages among them that others use already
  int64_t num_tokens() const { return num_resident + num_swapped; }
};

// The part of the KV cache that looks past the life of a sequence. Not thread-safe. With `enabled` false
// nothing is ever found or kept.
class PrefixCache {
 public:
  // Memory for a page that is known, resident or stored.
  static constexpr size_t kBytesPerNode = 512;

  PrefixCache(PageAllocator& pages, int32_t max_tables, const PrefixCacheOptions& options);

  // ---- block tables ----
  PrefixCursor open(const PrefixNamespace& prefix);
  void close(PrefixCursor& cursor);
  // For a table that shares the pages of the cursor's.
  PrefixCursor fork(const PrefixCursor& cursor);
  // What attach() would find of the first max_tokens tokens; changes nothing.
  PrefixHit peek(const PrefixNamespace& prefix, const KeySource& keys, int64_t max_tokens) const;
  // Appends shares of the pages that hold the longest known prefix of at most max_tokens tokens. The last
  // page may be used in part; it is the caller's then to copy before it writes, and the cursor does not count
  // it. Swapped pages are being read afterwards, see ready().
  PrefixHit attach(PrefixCursor& cursor, const KeySource& keys, int64_t max_tokens,
                   std::vector<PageId>& pages);
  // The table's page cursor.num_pages holds these tokens: the tree gets it, or the table gets the tree's
  // instead. False when that is not possible now.
  bool insert(PrefixCursor& cursor, const PageTokens& tokens, PageId& page);
  // The table is cut to its first num_pages pages.
  void cut(PrefixCursor& cursor, int64_t num_pages);
  enum class Readiness { ready, reading, lost };
  // Whether all of the table's pages hold their K and V. lost: those from cursor.num_ready on never will; cut
  // the table.
  Readiness ready(PrefixCursor& cursor, const std::vector<PageId>& pages) const;

  // ---- sequences that wait and will come back ----
  // `when` the pages of the known prefix of at most max_tokens tokens will be needed again, on any clock.
  // They are evicted only after all that nobody comes back for, what is needed last first; a page that
  // several come back for counts for the earliest. kNoReturn: nothing is known, or too many are awaited
  // already.
  ReturnId await_return(const PrefixNamespace& prefix, const KeySource& keys, int64_t max_tokens,
                        double when);
  // False once nothing of it is known any more.
  bool is_awaited(ReturnId id) const;
  // For one that is_awaited(): it is known better when. What of it has not been evicted is kept again.
  void expect_return(ReturnId id, double when);
  // Likewise: it has come, or never will.
  void forget_return(ReturnId id);
  // Likewise: begins to read at most max_pages of those that only the store has, in order. Leaves free pages
  // free that are reserved, and evicts nothing that others come back for. Returns how many.
  int32_t prefetch(ReturnId id, int32_t max_pages, int32_t num_reserved_pages);
  // Shares of a page that it holds meanwhile. For tests: slow.
  int32_t num_fetch_shares(PageId page) const;

  // Keeps a page that is not full, and nobody else's, for its sequence. The caller's share passes over,
  // unless the result is kNoTail. Such pages go when room is needed, after those that nobody comes back for.
  TailId keep_tail(PageId page, int64_t first_position, int64_t end_position);
  const KeptTail* find_tail(TailId id) const;  // null once it has gone
  // The share is the caller's then. Must be there.
  PageId take_tail(TailId id);
  // Frees it; ones that have gone are ignored.
  void drop_tail(TailId id);
  const PlaceTable<KeptTail>& tails() const { return tails_; }

  // ---- pages ----
  bool is_being_read(PageId page) const {
    return tree_.owner(page) != kNoNode && state(tree_.owner(page)).reading;
  }
  // After a table has given up its share of a page.
  void on_released(PageId page);
  // Evicts until that many pages are free; false if that cannot be.
  bool make_room(int32_t num_pages);
  int32_t num_evictable() const { return num_evictable_ + static_cast<int32_t>(oldest_tails_.size()); }

  // What time it is from now on, on any clock; for PrefixCacheStats::residency alone.
  void set_time(int64_t now_ns) { now_ns_ = now_ns; }

  // ---- the store ----
  // Goes on with transfers, as far as this is possible without waiting. To be called once a step.
  void pump();
  // Begins what attach() and prefetch() have asked for since, as pump() does.
  void begin_reads();
  // For that many tokens to come back from the store, after those that are being read; 0 if it is not known.
  double read_seconds(int64_t num_tokens) const;
  // Whether pump() has something under way or still to begin.
  bool is_reading() const { return num_reading_ > 0; }
  bool is_writing() const { return num_writing_ > 0 || first_unsaved_ != kNoNode; }

  PrefixCacheStats stats() const;
  const RadixTree& tree() const { return tree_; }
  // Aborts if a node is not in exactly one state. Slow.
  void check_invariants() const;

 private:
  // Of each node, beside what the tree knows.
  struct NodeState {
    double priority = 0;
    uint32_t num_hits = 0;
    bool reading = false;  // its page is being filled, or waits for that
    bool writing = false;  // to its slot
    bool lost = false;
    bool evictable = false;    // counted in num_evictable_
    uint32_t num_returns = 0;  // sequences that will come back for it
    bool unsaved = false;      // in the list of pages to be stored
    NodeId next_unsaved = kNoNode;
    NodeId prev_unsaved = kNoNode;
    int64_t resident_ns = 0;  // when its page came into memory
    int64_t used_ns = 0;      // when the last sequence to use it let go of it
  };

  NodeState& state(NodeId node) { return states_[static_cast<size_t>(node)]; }
  const NodeState& state(NodeId node) const { return states_[static_cast<size_t>(node)]; }
  NodeId known_child(NodeId parent, const PageTokens& tokens) const;
  void share(NodeId node);
  void touch(NodeId node);
  void note_resident(NodeId node);
  // Brings the heaps and counts up to date with what a node has become, if it is still there.
  void refresh(NodeId node);
  bool is_evictable(NodeId node) const;
  void evict(NodeId node);
  void drop(NodeId node);
  void remove_stored(NodeId node);
  bool begin_read(NodeId node);
  void lose(NodeId node);
  void drop_lost(NodeId node);
  void add_unsaved(NodeId node);
  void remove_unsaved(NodeId node);
  void finish_read(NodeId node, bool ok);
  void finish_write(NodeId node, bool ok);
  void load_contents();
  // The node goes: sequences know it no more.
  void cut_returns(NodeId node);
  void check_returns() const;
  void begin_fetch(NodeId node);
  void end_fetch(NodeId node);
  void drop_oldest_tail();
  void check_tails() const;
  void free_a_slot(NodeId node);
  void pump_writes();
  PageIdentity identity(NodeId node) const;

  // A node, two places in heaps, two buckets and a link of the hash table.
  static_assert(sizeof(RadixNode) + sizeof(NodeState) + 2 * 20 + 4 * sizeof(NodeId) <= kBytesPerNode);

  const PrefixCacheOptions options_;
  PageAllocator& pages_;
  RadixTree tree_;
  std::vector<NodeState> states_;
  IndexedHeap cached_leaves_;
  IndexedHeap stored_leaves_;
  static constexpr size_t kMaxReturns = 1024;
  void release_return(int32_t place);  // its pages go when they are next
  PlaceTable<NodeId> returns_;         // the last page that is known of each
  IndexedHeap latest_returns_;         // places
  std::vector<NodeId> fetched_;  // being read by prefetch(); they and those above hold a share of their pages
  std::vector<NodeId> forgotten_;  // of one release_return()
  static constexpr size_t kMaxTails = 1024;
  PlaceTable<KeptTail> tails_;
  IndexedHeap oldest_tails_;   // places
  int32_t num_evictable_ = 0;  // nodes
  int32_t num_swapped_ = 0;
  double age_ = 0;             // cost: the priority of what was evicted last; lru: the time
  std::vector<NodeId> reads_;  // to be begun, in order
  size_t next_read_ = 0;
  int32_t num_reading_ = 0;  // begun or to be begun
  int32_t num_writing_ = 0;
  NodeId first_unsaved_ = kNoNode;
  NodeId last_unsaved_ = kNoNode;
  bool awaits_slot_ = false;  // one has been erased and is not free yet
  std::vector<PageTransfer> ended_;
  int64_t now_ns_ = 0;
  PrefixCacheStats stats_;
};

}  // namespace pagoda
