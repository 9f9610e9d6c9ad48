#include "kv/prefix_cache.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace pagoda {

namespace {

int32_t num_slots(const PrefixCacheOptions& options) {
  return options.store ? options.store->num_slots() : 0;
}

}  // namespace

PrefixCache::PrefixCache(PageAllocator& pages, int32_t max_tables, const PrefixCacheOptions& options)
    : options_(options),
      pages_(pages),
      tree_({.num_pages = pages.num_pages(),
             .max_nodes = pages.num_pages() + num_slots(options),
             .max_roots = pages.num_pages() + max_tables + 1},
            options.fingerprint),
      states_(tree_.capacity()),
      cached_leaves_(tree_.capacity()),
      stored_leaves_(tree_.capacity()),
      returns_(options.enabled ? kMaxReturns : 0),
      latest_returns_(returns_.num_places()),
      tails_(options.enabled && options.awaits_returns ? kMaxTails : 0),
      oldest_tails_(tails_.num_places()) {
  fetched_.reserve(static_cast<size_t>(pages.num_pages()));
  forgotten_.reserve(fetched_.capacity());
  reads_.reserve(static_cast<size_t>(pages.num_pages()));
  if (options_.store) load_contents();
}

PrefixCursor PrefixCache::open(const PrefixNamespace& prefix) {
  if (!options_.enabled) return {};
  const NodeId root = tree_.open_root(prefix);
  return {.root = root, .last = root, .may_be_stored = options_.store && prefix.salt.empty()};
}

void PrefixCache::close(PrefixCursor& cursor) {
  if (cursor.root != kNoNode) tree_.close_root(cursor.root);
  cursor = {};
}

NodeId PrefixCache::known_child(NodeId parent, const PageTokens& tokens) const {
  const NodeId child = tree_.find_child(parent, tokens);
  return child != kNoNode && !state(child).lost ? child : kNoNode;
}

PrefixHit PrefixCache::peek(const PrefixNamespace& prefix, const KeySource& keys, int64_t max_tokens) const {
  PrefixHit hit;
  if (!options_.enabled) return hit;
  NodeId last = tree_.find_root(prefix);
  for (int64_t index = 0; last != kNoNode && (index + 1) * kPageTokens <= max_tokens; ++index) {
    last = known_child(last, keys.page(index));
    if (last == kNoNode) break;
    const PageId page = tree_[last].page;
    (page == kNoPage ? hit.num_swapped : hit.num_resident) += kPageTokens;
    if (page != kNoPage && pages_.ref_count(page) > 1) ++hit.num_held_pages;
  }
  return hit;
}

PrefixHit PrefixCache::attach(PrefixCursor& cursor, const KeySource& keys, int64_t max_tokens,
                              std::vector<PageId>& pages) {
  PrefixHit hit;
  if (cursor.root == kNoNode) return hit;
  for (int64_t index = cursor.num_pages; index * kPageTokens < max_tokens; ++index) {
    if ((index + 1) * kPageTokens > keys.num_tokens()) break;
    const NodeId child = known_child(cursor.last, keys.page(index));
    if (child == kNoNode) break;
    const bool is_swapped = tree_[child].page == kNoPage;
    if (is_swapped && !begin_read(child)) break;
    const int64_t num_tokens = std::min<int64_t>(max_tokens - index * kPageTokens, kPageTokens);
    (is_swapped || state(child).reading ? hit.num_swapped : hit.num_resident) += num_tokens;
    share(child);
    pages.push_back(tree_[child].page);
    if (num_tokens < kPageTokens) break;
    cursor.last = child;
    ++cursor.num_pages;
  }
  return hit;
}

void PrefixCache::share(NodeId node) {
  NodeState& used = state(node);
  if (used.evictable) stats_.residency.reuse.observe(now_ns_ - used.used_ns);
  pages_.retain(tree_[node].page);
  ++used.num_hits;
  touch(node);
  refresh(node);
}

void PrefixCache::note_resident(NodeId node) {
  state(node).resident_ns = now_ns_;
  state(node).used_ns = now_ns_;
}

void PrefixCache::touch(NodeId node) {
  NodeState& touched = state(node);
  if (options_.eviction == Eviction::lru) {
    touched.priority = age_ += 1;
    return;
  }
  const double cost = 1 + static_cast<double>(tree_[node].depth) * kPageTokens * options_.attention_share;
  touched.priority = age_ + (1.0 + touched.num_hits) * cost;
}

bool PrefixCache::insert(PrefixCursor& cursor, const PageTokens& tokens, PageId& page) {
  if (cursor.root == kNoNode) return false;
  NodeId node = tree_.find_child(cursor.last, tokens);
  if (node != kNoNode && (state(node).lost || state(node).reading)) return false;
  const bool is_new = node == kNoNode;
  if (is_new) {
    node = tree_.add_child(cursor.last, tokens);
    state(node) = {};
  }
  if (tree_[node].page == kNoPage) {
    if (!is_new) --num_swapped_;
    tree_.set_page(node, page);
    note_resident(node);
    pages_.retain(page);
    if (is_new && cursor.may_be_stored) add_unsaved(node);
  } else {
    pages_.retain(tree_[node].page);
    pages_.release(std::exchange(page, tree_[node].page));
  }
  touch(node);
  refresh(node);
  if (!tree_.is_root(cursor.last)) refresh(cursor.last);
  cursor.last = node;
  ++cursor.num_pages;
  return true;
}

void PrefixCache::cut(PrefixCursor& cursor, int64_t num_pages) {
  for (; cursor.num_pages > num_pages; --cursor.num_pages) cursor.last = tree_[cursor.last].parent;
  cursor.num_ready = std::min(cursor.num_ready, num_pages);
}

PrefixCache::Readiness PrefixCache::ready(PrefixCursor& cursor, const std::vector<PageId>& pages) const {
  const auto node_of = [&](int64_t index) { return tree_.owner(pages[static_cast<size_t>(index)]); };
  const auto is_good = [&](NodeId node) {
    return node == kNoNode || (!state(node).lost && !state(node).reading);
  };
  // The page after the path may be the tree's, too: one that is used in part.
  const int64_t num_pages = std::ssize(pages);
  while (cursor.num_ready < num_pages && is_good(node_of(cursor.num_ready))) ++cursor.num_ready;
  // A page stays held while it is being read, also behind a lost one.
  for (int64_t index = cursor.num_ready; index < num_pages; ++index)
    if (node_of(index) != kNoNode && state(node_of(index)).reading) return Readiness::reading;
  return cursor.num_ready == num_pages ? Readiness::ready : Readiness::lost;
}

void PrefixCache::on_released(PageId page) {
  const NodeId node = tree_.owner(page);
  if (node == kNoNode || pages_.ref_count(page) != 1) return;
  state(node).used_ns = now_ns_;
  touch(node);
  refresh(node);
}

bool PrefixCache::is_evictable(NodeId node) const {
  const RadixNode& held = tree_[node];
  return held.page != kNoPage && pages_.ref_count(held.page) == 1 && !state(node).reading;
}

void PrefixCache::refresh(NodeId node) {
  const RadixNode& held = tree_[node];
  if (!held.in_use) return;
  NodeState& current = state(node);
  const bool evictable = is_evictable(node);
  num_evictable_ +=
      static_cast<int32_t>(evictable) - static_cast<int32_t>(std::exchange(current.evictable, evictable));
  const bool is_leaf = held.num_resident_children == 0;
  if (evictable && current.lost && is_leaf) return evict(node);
  const bool is_awaited = current.num_returns > 0;
  if (evictable && is_leaf && !current.lost && !is_awaited)
    cached_leaves_.set(node, current.priority);
  else
    cached_leaves_.remove(node);
  const bool is_stored = held.slot != kNoSlot && !current.writing && !current.reading && !current.lost;
  if (is_stored && held.num_stored_children == 0 && !is_awaited)
    stored_leaves_.set(node, current.priority);
  else
    stored_leaves_.remove(node);
}

bool PrefixCache::make_room(int32_t num_pages) {
  while (pages_.num_free() < num_pages) {
    if (cached_leaves_.empty() && !oldest_tails_.empty()) {
      drop_oldest_tail();
      continue;
    }
    if (cached_leaves_.empty() && !latest_returns_.empty()) {
      release_return(latest_returns_.top());
      continue;
    }
    if (cached_leaves_.empty()) return false;
    if (options_.eviction == Eviction::cost) age_ = std::max(age_, cached_leaves_.top_priority());
    evict(cached_leaves_.top());
  }
  return true;
}

void PrefixCache::evict(NodeId node) {
  const PageId page = tree_[node].page;
  const NodeId parent = tree_[node].parent;
  cached_leaves_.remove(node);
  --num_evictable_;
  state(node).evictable = false;
  tree_.set_page(node, kNoPage);
  pages_.release(page);
  ++stats_.evicted_pages;
  stats_.residency.lifetime.observe(now_ns_ - state(node).resident_ns);
  stats_.residency.idle.observe(now_ns_ - state(node).used_ns);
  ++num_swapped_;
  if (state(node).lost)
    drop_lost(node);
  else if (tree_[node].slot == kNoSlot)
    drop(node);
  if (!tree_.is_root(parent)) refresh(parent);
}

// Forgets a node without page and children.
void PrefixCache::drop(NodeId node) {
  PAGODA_CHECK(tree_[node].page == kNoPage && !state(node).writing && !state(node).reading,
               "node {} is in use", node);
  cut_returns(node);
  ++stats_.dropped_pages;
  --num_swapped_;
  remove_unsaved(node);
  if (tree_[node].slot != kNoSlot) {
    options_.store->erase(tree_[node].slot);
    tree_.set_slot(node, kNoSlot);
  }
  stored_leaves_.remove(node);
  tree_.remove(node);
}

PrefixCursor PrefixCache::fork(const PrefixCursor& cursor) {
  if (cursor.root != kNoNode) tree_.open_again(cursor.root);
  return cursor;
}

PrefixCacheStats PrefixCache::stats() const {
  PrefixCacheStats stats = stats_;
  stats.num_cached = num_evictable();
  stats.num_swapped = num_swapped_;
  return stats;
}

}  // namespace pagoda
