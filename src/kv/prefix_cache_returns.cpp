// PrefixCache's care for sequences that have given up their tables and will come back for their pages.
// Invariant: the nodes from a return's `last` up to the root count it in num_returns while it is among
// latest_returns_; what is not known any more has been cut off.
#include <algorithm>

#include "base/check.h"
#include "kv/prefix_cache.h"

namespace pagoda {

ReturnId PrefixCache::await_return(const PrefixNamespace& prefix, const KeySource& keys, int64_t max_tokens,
                                   double when) {
  if (!options_.enabled || !options_.awaits_returns || returns_.is_full()) return kNoReturn;
  NodeId last = kNoNode;
  NodeId node = tree_.find_root(prefix);
  for (int64_t index = 0; node != kNoNode && (index + 1) * kPageTokens <= max_tokens; ++index) {
    node = known_child(node, keys.page(index));
    if (node != kNoNode) last = node;
  }
  if (last == kNoNode) return kNoReturn;
  const ReturnId id = returns_.add(last);
  expect_return(id, when);
  return id;
}

bool PrefixCache::is_awaited(ReturnId id) const {
  return returns_.find(id) != nullptr;
}

void PrefixCache::expect_return(ReturnId id, double when) {
  const int32_t place = returns_.place(id);
  if (!latest_returns_.contains(place)) {
    for (NodeId node = returns_.at(place); !tree_.is_root(node); node = tree_[node].parent) {
      ++state(node).num_returns;
      refresh(node);
    }
  }
  // The heap's top is the least.
  latest_returns_.set(place, -when);
}

void PrefixCache::release_return(int32_t place) {
  latest_returns_.remove(place);
  forgotten_.clear();
  for (NodeId node = returns_.at(place); !tree_.is_root(node); node = tree_[node].parent) {
    --state(node).num_returns;
    forgotten_.push_back(node);
  }
  // Lost ones go now, and parents with them.
  for (const NodeId node : forgotten_) refresh(node);
}

void PrefixCache::forget_return(ReturnId id) {
  const int32_t place = returns_.place(id);
  if (latest_returns_.contains(place)) release_return(place);
  // Nodes that went just now may have been its last.
  if (is_awaited(id)) returns_.take(place);
}

int32_t PrefixCache::prefetch(ReturnId id, int32_t max_pages, int32_t num_reserved_pages) {
  // Pages above one that is read stay.
  const int32_t place = returns_.place(id);
  if (!latest_returns_.contains(place)) return 0;
  int32_t num_begun = 0;
  for (; num_begun < max_pages; ++num_begun) {
    // A page is never resident without its parent: those that only the store has are the path's end.
    NodeId next = kNoNode;
    for (NodeId node = returns_.at(place); !tree_.is_root(node); node = tree_[node].parent) {
      if (tree_[node].page != kNoPage) break;
      next = node;
    }
    if (next == kNoNode || state(next).lost) break;
    // Not in place of what others come back for.
    const bool has_room = pages_.num_free() > num_reserved_pages;
    if (!has_room && (cached_leaves_.empty() || !make_room(pages_.num_free() + 1))) break;
    if (!begin_read(next)) break;
    begin_fetch(next);
  }
  return num_begun;
}

// While a page is read for nobody that runs, those above it must stay, and none of them counts as one that
// can be had.
void PrefixCache::begin_fetch(NodeId node) {
  fetched_.push_back(node);
  for (; !tree_.is_root(node); node = tree_[node].parent) {
    pages_.retain(tree_[node].page);
    refresh(node);
  }
}

void PrefixCache::end_fetch(NodeId node) {
  const auto found = std::ranges::find(fetched_, node);
  if (found == fetched_.end()) return;
  fetched_.erase(found);
  pages_.release(tree_[node].page);
  for (NodeId above = tree_[node].parent; !tree_.is_root(above); above = tree_[above].parent) {
    pages_.release(tree_[above].page);
    refresh(above);
  }
}

int32_t PrefixCache::num_fetch_shares(PageId page) const {
  int32_t count = 0;
  for (NodeId node : fetched_)
    for (; !tree_.is_root(node); node = tree_[node].parent) count += tree_[node].page == page ? 1 : 0;
  return count;
}

void PrefixCache::cut_returns(NodeId node) {
  if (returns_.num_used() == 0) return;
  const NodeId parent = tree_[node].parent;
  for (const auto& [id, last] : returns_.entries()) {
    if (id == kNoReturn || last != node) continue;
    const int32_t place = returns_.place(id);
    returns_.at(place) = parent;
    if (!tree_.is_root(parent)) continue;
    latest_returns_.remove(place);
    returns_.take(place);
  }
  state(node).num_returns = 0;
}

void PrefixCache::check_returns() const {
  std::vector<uint32_t> counts(tree_.capacity());
  for (const auto& [id, last] : returns_.entries()) {
    if (id == kNoReturn || !latest_returns_.contains(returns_.place(id))) continue;
    for (NodeId node = last; !tree_.is_root(node); node = tree_[node].parent)
      ++counts[static_cast<size_t>(node)];
  }
  for (size_t i = 0; i < counts.size(); ++i) {
    const auto node = static_cast<NodeId>(i);
    if (!tree_[node].in_use || tree_.is_root(node)) continue;
    PAGODA_CHECK(state(node).num_returns == counts[i], "node {} is awaited {} times, not {}", node, counts[i],
                 state(node).num_returns);
  }
}

}  // namespace pagoda
