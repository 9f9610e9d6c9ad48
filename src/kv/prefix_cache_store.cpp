// PrefixCache's dealings with the store. Invariant: a node's slot is only given up after those of its
// children, so that what lies in the store is always a tree.
#include <unordered_map>

#include "base/check.h"
#include "kv/page_chain.h"
#include "kv/prefix_cache.h"

namespace pagoda {

namespace {

constexpr size_t kTransfersPerPoll = 64;

}  // namespace

PageIdentity PrefixCache::identity(NodeId node) const {
  return {.key = tree_[node].key, .parent = tree_[tree_[node].parent].key, .tokens = tree_[node].tokens};
}

void PrefixCache::load_contents() {
  ended_.resize(kTransfersPerPoll);
  // Stays open, so that stored pages always have a root.
  const NodeId root = tree_.open_root({});
  std::unordered_map<Digest, NodeId, DigestHash> known{{tree_[root].key, root}};
  for (const StoredPage& stored : options_.store->take_contents()) {
    const PageIdentity& found = stored.identity;
    const auto parent = known.find(found.parent);
    if (parent == known.end() || found.key != page_key(found.parent, found.tokens) ||
        tree_.find_child(parent->second, found.tokens) != kNoNode) {
      options_.store->erase(stored.slot);
      continue;
    }
    const NodeId node = tree_.add_child(parent->second, found.tokens);
    state(node) = {};
    tree_.set_slot(node, stored.slot);
    ++num_swapped_;
    known.emplace(found.key, node);
    touch(node);
    refresh(node);
    if (!tree_.is_root(parent->second)) refresh(parent->second);
  }
}

bool PrefixCache::begin_read(NodeId node) {
  if (state(node).writing || !make_room(1)) return false;
  const PageId page = pages_.allocate().value_or(kNoPage);
  tree_.set_page(node, page);
  note_resident(node);
  --num_swapped_;
  state(node).reading = true;
  ++num_reading_;
  reads_.push_back(node);
  return true;
}

void PrefixCache::pump() {
  if (!options_.store) return;
  size_t num_ended = 0;
  do {
    num_ended = options_.store->poll(ended_);
    for (size_t i = 0; i < num_ended; ++i) {
      const auto node = static_cast<NodeId>(ended_[i].tag);
      if (ended_[i].kind == PageTransfer::Kind::read)
        finish_read(node, ended_[i].ok);
      else
        finish_write(node, ended_[i].ok);
    }
  } while (num_ended == ended_.size());
  begin_reads();
  pump_writes();
}

double PrefixCache::read_seconds(int64_t num_tokens) const {
  if (!options_.store) return 0;
  return static_cast<double>(num_reading_ + pages_for(num_tokens)) * options_.store->seconds_per_read();
}

void PrefixCache::begin_reads() {
  for (; next_read_ < reads_.size(); ++next_read_) {
    const NodeId node = reads_[next_read_];
    if (state(node).lost)
      finish_read(node, false);
    else if (!options_.store->read(tree_[node].slot, identity(node), tree_[node].page,
                                   static_cast<uint64_t>(node)))
      return;
  }
  reads_.clear();
  next_read_ = 0;
}

void PrefixCache::finish_read(NodeId node, bool ok) {
  state(node).reading = false;
  --num_reading_;
  end_fetch(node);
  const NodeId parent = tree_[node].parent;
  if (ok && !state(node).lost) {
    ++stats_.loaded_pages;
    refresh(node);
    return;
  }
  ++stats_.lost_pages;
  lose(node);
  if (!tree_.is_root(parent)) refresh(parent);
}

// The node's K and V cannot be had, nor can anything below it be found then.
void PrefixCache::lose(NodeId node) {
  for (NodeId child = tree_[node].first_child; child != kNoNode;) {
    const NodeId next = tree_[child].next_sibling;
    lose(child);
    child = next;
  }
  // Only now: a lost node goes with its last child.
  state(node).lost = true;
  if (tree_[node].page == kNoPage)
    drop_lost(node);
  else
    refresh(node);
}

// A lost node without a page goes when nothing of it or below it is under way any more, and those above that
// waited for it.
void PrefixCache::drop_lost(NodeId node) {
  while (state(node).lost && tree_[node].page == kNoPage && !state(node).writing &&
         tree_[node].first_child == kNoNode) {
    const NodeId parent = tree_[node].parent;
    drop(node);
    if (tree_.is_root(parent)) return;
    refresh(parent);
    if (!tree_[parent].in_use) return;
    node = parent;
  }
}

void PrefixCache::add_unsaved(NodeId node) {
  NodeState& added = state(node);
  added.unsaved = true;
  added.prev_unsaved = last_unsaved_;
  added.next_unsaved = kNoNode;
  (last_unsaved_ == kNoNode ? first_unsaved_ : state(last_unsaved_).next_unsaved) = node;
  last_unsaved_ = node;
}

void PrefixCache::remove_unsaved(NodeId node) {
  NodeState& gone = state(node);
  if (!gone.unsaved) return;
  gone.unsaved = false;
  (gone.prev_unsaved == kNoNode ? first_unsaved_ : state(gone.prev_unsaved).next_unsaved) = gone.next_unsaved;
  (gone.next_unsaved == kNoNode ? last_unsaved_ : state(gone.next_unsaved).prev_unsaved) = gone.prev_unsaved;
}

void PrefixCache::pump_writes() {
  if (awaits_slot_ && options_.store->num_free_slots() > 0) awaits_slot_ = false;
  while (first_unsaved_ != kNoNode) {
    const NodeId node = first_unsaved_;
    const NodeId parent = tree_[node].parent;
    const bool has_stored_parent = tree_.is_root(parent) || tree_[parent].slot != kNoSlot;
    if (!options_.store->can_write() || !has_stored_parent) {
      remove_unsaved(node);
      continue;
    }
    const SlotId slot = options_.store->write(identity(node), tree_[node].page, static_cast<uint64_t>(node));
    if (slot == kNoSlot) return free_a_slot(node);
    remove_unsaved(node);
    tree_.set_slot(node, slot);
    state(node).writing = true;
    ++num_writing_;
    refresh(node);
    if (!tree_.is_root(parent)) refresh(parent);
  }
}

// For a page that the store has no slot for: takes that of one which is worth less, or gives up.
void PrefixCache::free_a_slot(NodeId node) {
  if (options_.store->num_free_slots() > 0 || awaits_slot_) return;
  const NodeId victim = stored_leaves_.empty() ? kNoNode : stored_leaves_.top();
  const bool is_worth_it = victim != kNoNode && victim != tree_[node].parent &&
                           stored_leaves_.top_priority() <= state(node).priority;
  if (!is_worth_it) return remove_unsaved(node);
  awaits_slot_ = true;
  remove_stored(victim);
}

void PrefixCache::remove_stored(NodeId node) {
  const NodeId parent = tree_[node].parent;
  options_.store->erase(tree_[node].slot);
  tree_.set_slot(node, kNoSlot);
  if (tree_[node].page == kNoPage)
    drop(node);
  else
    refresh(node);
  if (!tree_.is_root(parent)) refresh(parent);
}

void PrefixCache::finish_write(NodeId node, bool ok) {
  state(node).writing = false;
  --num_writing_;
  stats_.stored_pages += ok ? 1 : 0;
  if (state(node).lost && tree_[node].page == kNoPage) {
    drop_lost(node);
  } else if (!ok && tree_[node].num_stored_children == 0) {
    remove_stored(node);
  } else {
    // A slot that could not be written keeps its place until its children's are gone; reading it fails.
    refresh(node);
  }
}

void PrefixCache::check_invariants() const {
  tree_.check_invariants();
  check_returns();
  check_tails();
  int32_t num_evictable = 0;
  int32_t num_swapped = 0;
  int32_t num_reading = 0;
  for (size_t i = 0; i < tree_.capacity(); ++i) {
    const auto node = static_cast<NodeId>(i);
    const RadixNode& held = tree_[node];
    if (!held.in_use || tree_.is_root(node)) continue;
    const NodeState& current = state(node);
    PAGODA_CHECK(held.page != kNoPage || held.slot != kNoSlot || current.lost, "node {} holds nothing", node);
    PAGODA_CHECK(held.page == kNoPage || pages_.ref_count(held.page) > 0, "node {} has a free page", node);
    PAGODA_CHECK(!current.reading || held.page != kNoPage, "node {} is read to nowhere", node);
    PAGODA_CHECK(tree_.is_root(held.parent) || held.page == kNoPage || tree_[held.parent].page != kNoPage,
                 "node {} is resident without its parent", node);
    PAGODA_CHECK(tree_.is_root(held.parent) || held.slot == kNoSlot || tree_[held.parent].slot != kNoSlot,
                 "node {} is stored without its parent", node);
    const bool evictable = is_evictable(node);
    PAGODA_CHECK(evictable == current.evictable, "node {}", node);
    PAGODA_CHECK(cached_leaves_.contains(node) == (evictable && held.num_resident_children == 0 &&
                                                   !current.lost && current.num_returns == 0),
                 "node {} in the wrong list", node);
    num_evictable += evictable ? 1 : 0;
    num_swapped += held.page == kNoPage ? 1 : 0;
    num_reading += current.reading ? 1 : 0;
  }
  PAGODA_CHECK(num_evictable == num_evictable_ && num_swapped == num_swapped_ && num_reading == num_reading_,
               "{} evictable ({}), {} swapped ({}), {} reading ({})", num_evictable_, num_evictable,
               num_swapped_, num_swapped, num_reading_, num_reading);
}

}  // namespace pagoda
