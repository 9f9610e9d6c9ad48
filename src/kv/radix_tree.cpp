#include "kv/radix_tree.h"

#include <array>
#include <bit>
#include <cstring>
#include <span>

#include "base/check.h"
#include "kv/page_chain.h"

namespace pagoda {

RadixTree::RadixTree(const Room& room, const Digest& fingerprint)
    : fingerprint_(fingerprint), max_nodes_(room.max_nodes) {
  const size_t capacity = static_cast<size_t>(room.max_nodes) + static_cast<size_t>(room.max_roots);
  owners_.assign(static_cast<size_t>(room.num_pages), kNoNode);
  nodes_.resize(capacity);
  next_in_bucket_.assign(capacity, kNoNode);
  free_.reserve(capacity);
  for (auto node = static_cast<NodeId>(capacity) - 1; node >= 0; --node) free_.push_back(node);
  buckets_.assign(std::bit_ceil(2 * capacity + 1), kNoNode);
}

size_t RadixTree::bucket_of(NodeId parent, const PageTokens& tokens) const {
  std::array<uint64_t, kPageTokens + 1> words{static_cast<uint64_t>(parent)};
  std::memcpy(words.data() + 1, tokens.data(), sizeof(tokens));
  return checksum(std::as_bytes(std::span(words))) & (buckets_.size() - 1);
}

NodeId RadixTree::take_node() {
  PAGODA_CHECK(!free_.empty(), "all {} nodes are in use", nodes_.size());
  const NodeId node = free_.back();
  free_.pop_back();
  at(node) = {};
  at(node).in_use = true;
  return node;
}

void RadixTree::give_back(NodeId node) {
  at(node).in_use = false;
  free_.push_back(node);
}

NodeId RadixTree::open_root(const PrefixNamespace& prefix) {
  const auto [place, is_new] = roots_.try_emplace(prefix, kNoNode);
  if (is_new) {
    place->second = take_node();
    at(place->second).key = root_key(fingerprint_, prefix);
    root_places_.emplace(place->second, place);
  }
  ++at(place->second).num_users;
  return place->second;
}

void RadixTree::close_root(NodeId root) {
  PAGODA_CHECK(is_root(root) && at(root).num_users > 0, "node {}", root);
  --at(root).num_users;
  close_if_unused(root);
}

void RadixTree::close_if_unused(NodeId root) {
  if (at(root).num_users > 0 || at(root).first_child != kNoNode) return;
  const auto place = root_places_.find(root);
  roots_.erase(place->second);
  root_places_.erase(place);
  give_back(root);
}

NodeId RadixTree::find_root(const PrefixNamespace& prefix) const {
  const auto found = roots_.find(prefix);
  return found == roots_.end() ? kNoNode : found->second;
}

NodeId RadixTree::find_child(NodeId parent, const PageTokens& tokens) const {
  NodeId node = buckets_[bucket_of(parent, tokens)];
  while (node != kNoNode && (at(node).parent != parent || at(node).tokens != tokens))
    node = next_in_bucket_[static_cast<size_t>(node)];
  return node;
}

NodeId RadixTree::add_child(NodeId parent, const PageTokens& tokens) {
  PAGODA_CHECK(num_nodes_ < max_nodes_, "{} nodes already", num_nodes_);
  const NodeId node = take_node();
  ++num_nodes_;
  RadixNode& added = at(node);
  added.tokens = tokens;
  added.key = page_key(at(parent).key, tokens);
  added.parent = parent;
  added.depth = is_root(parent) ? 0 : at(parent).depth + 1;
  added.next_sibling = at(parent).first_child;
  if (added.next_sibling != kNoNode) at(added.next_sibling).prev_sibling = node;
  at(parent).first_child = node;
  NodeId& head = buckets_[bucket_of(parent, tokens)];
  next_in_bucket_[static_cast<size_t>(node)] = head;
  head = node;
  return node;
}

void RadixTree::unlink(NodeId node) {
  const RadixNode& gone = at(node);
  if (gone.prev_sibling != kNoNode)
    at(gone.prev_sibling).next_sibling = gone.next_sibling;
  else
    at(gone.parent).first_child = gone.next_sibling;
  if (gone.next_sibling != kNoNode) at(gone.next_sibling).prev_sibling = gone.prev_sibling;
  NodeId* link = &buckets_[bucket_of(gone.parent, gone.tokens)];
  while (*link != node) link = &next_in_bucket_[static_cast<size_t>(*link)];
  *link = next_in_bucket_[static_cast<size_t>(node)];
}

void RadixTree::remove(NodeId node) {
  const RadixNode& gone = at(node);
  PAGODA_CHECK(!is_root(node) && gone.first_child == kNoNode && gone.page == kNoPage && gone.slot == kNoSlot,
               "node {}", node);
  const NodeId parent = gone.parent;
  unlink(node);
  give_back(node);
  --num_nodes_;
  if (is_root(parent)) close_if_unused(parent);
}

void RadixTree::set_page(NodeId node, PageId page) {
  RadixNode& target = at(node);
  PAGODA_CHECK((target.page == kNoPage) != (page == kNoPage), "node {}: page {} -> {}", node, target.page,
               page);
  if (page != kNoPage) {
    PAGODA_CHECK(owner(page) == kNoNode, "page {} belongs to node {}", page, owner(page));
    owners_[static_cast<size_t>(page)] = node;
  } else {
    owners_[static_cast<size_t>(target.page)] = kNoNode;
  }
  target.page = page;
  at(target.parent).num_resident_children += page == kNoPage ? -1 : 1;
}

void RadixTree::set_slot(NodeId node, SlotId slot) {
  RadixNode& target = at(node);
  PAGODA_CHECK((target.slot == kNoSlot) != (slot == kNoSlot), "node {}: slot {} -> {}", node, target.slot,
               slot);
  target.slot = slot;
  at(target.parent).num_stored_children += slot == kNoSlot ? -1 : 1;
}

void RadixTree::check_invariants() const {
  int32_t num_found = 0;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const auto node = static_cast<NodeId>(i);
    const RadixNode& current = at(node);
    if (!current.in_use) continue;
    int32_t num_resident = 0;
    int32_t num_stored = 0;
    for (NodeId child = current.first_child; child != kNoNode; child = at(child).next_sibling) {
      PAGODA_CHECK(at(child).in_use && at(child).parent == node, "child {} of node {}", child, node);
      num_resident += at(child).page != kNoPage ? 1 : 0;
      num_stored += at(child).slot != kNoSlot ? 1 : 0;
    }
    PAGODA_CHECK(num_resident == current.num_resident_children && num_stored == current.num_stored_children,
                 "node {}: {} and {} children counted, {} and {} found", node, current.num_resident_children,
                 current.num_stored_children, num_resident, num_stored);
    if (is_root(node)) {
      PAGODA_CHECK(root_places_.contains(node) && (current.num_users > 0 || current.first_child != kNoNode),
                   "root {} serves nobody", node);
      continue;
    }
    ++num_found;
    PAGODA_CHECK(find_child(current.parent, current.tokens) == node, "node {} cannot be found", node);
    PAGODA_CHECK(current.page == kNoPage || owner(current.page) == node, "page {} of node {}", current.page,
                 node);
  }
  PAGODA_CHECK(num_found == num_nodes_, "{} nodes found of {}", num_found, num_nodes_);
  PAGODA_CHECK(num_nodes_ + roots_.size() + free_.size() == nodes_.size(), "{} nodes, {} roots, {} free",
               num_nodes_, roots_.size(), free_.size());
}

}  // namespace pagoda
