// The prefixes that the cache knows, as a tree (RadixAttention: Zheng et al., SGLang, 2024, section 3). An
// edge is a page: the 16 tokens of a node, compared one by one, continue those of its parent. Edges are not
// merged into longer ones: a page is the unit that is shared, evicted, stored and checked, so that a longer
// edge would have to be split for each of these; and a look-up is one probe of a hash table per page either
// way.
//
// The tree knows which page of the pool and which slot of the store hold a node's K and V, but not what a
// page is worth or who uses it.
#pragma once

#include <cstdint>
#include <map>
#include <unordered_map>
#include <vector>

#include "io/hash.h"
#include "kernels/kv_page.h"
#include "kv/page_store.h"
#include "kv/prefix_key.h"

namespace pagoda {

using NodeId = int32_t;
inline constexpr NodeId kNoNode = -1;
inline constexpr PageId kNoPage = -1;

// Roots stand for namespaces and have no tokens, page or slot.
struct RadixNode {
  PageTokens tokens{};
  Digest key;  // page_chain.h
  NodeId parent = kNoNode;
  NodeId first_child = kNoNode;
  NodeId next_sibling = kNoNode;
  NodeId prev_sibling = kNoNode;
  int32_t depth = 0;                  // pages before this one
  int32_t num_resident_children = 0;  // with a page
  int32_t num_stored_children = 0;    // with a slot
  PageId page = kNoPage;
  SlotId slot = kNoSlot;
  int32_t num_users = 0;  // of a root: block tables whose sequence lives in its namespace
  bool in_use = false;
};

// Not thread-safe. Nothing is allocated after construction but for new namespaces.
class RadixTree {
 public:
  // Of what there is room for.
  struct Room {
    int32_t num_pages = 0;
    int32_t max_nodes = 0;  // beside the roots
    int32_t max_roots = 0;  // that live at once
  };
  RadixTree(const Room& room, const Digest& fingerprint);

  // The root of a namespace, with one more user; kept while it has users or children.
  NodeId open_root(const PrefixNamespace& prefix);
  void open_again(NodeId root) { ++at(root).num_users; }
  void close_root(NodeId root);
  // The root of a namespace, or kNoNode if nothing is known there.
  NodeId find_root(const PrefixNamespace& prefix) const;

  // The child whose tokens are exactly these, or kNoNode.
  NodeId find_child(NodeId parent, const PageTokens& tokens) const;
  // There must be none yet, and room for it.
  NodeId add_child(NodeId parent, const PageTokens& tokens);
  // Of a node without children, page and slot. Its root goes with its last child if it has no users.
  void remove(NodeId node);

  const RadixNode& operator[](NodeId node) const { return nodes_[static_cast<size_t>(node)]; }
  bool is_root(NodeId node) const { return at(node).parent == kNoNode; }
  void set_page(NodeId node, PageId page);  // kNoPage: none any more
  void set_slot(NodeId node, SlotId slot);  // kNoSlot: none any more
  // The node whose page this is, or kNoNode.
  NodeId owner(PageId page) const { return owners_[static_cast<size_t>(page)]; }

  int32_t num_nodes() const { return num_nodes_; }  // without the roots
  size_t num_roots() const { return roots_.size(); }
  size_t capacity() const { return nodes_.size(); }  // node ids are below it
  // Aborts if links, counts or the hash table contradict each other. Slow.
  void check_invariants() const;

 private:
  using Roots = std::map<PrefixNamespace, NodeId>;

  const RadixNode& at(NodeId node) const { return nodes_[static_cast<size_t>(node)]; }
  RadixNode& at(NodeId node) { return nodes_[static_cast<size_t>(node)]; }
  size_t bucket_of(NodeId parent, const PageTokens& tokens) const;
  NodeId take_node();
  void give_back(NodeId node);
  void unlink(NodeId node);
  void close_if_unused(NodeId root);

  const Digest fingerprint_;
  const int32_t max_nodes_;
  int32_t num_nodes_ = 0;
  std::vector<RadixNode> nodes_;
  std::vector<NodeId> free_;
  std::vector<NodeId> buckets_;  // power of two; heads of chains through next_in_bucket_
  std::vector<NodeId> next_in_bucket_;
  std::vector<NodeId> owners_;
  Roots roots_;
  std::unordered_map<NodeId, Roots::iterator> root_places_;
};

}  // namespace pagoda
