#include "kv/radix_tree.h"

#include <gtest/gtest.h>

#include "kv/page_chain.h"

namespace pagoda {
namespace {

PageTokens tokens_of(KeyToken first) {
  PageTokens tokens;
  tokens.fill(first);
  return tokens;
}

TEST(RadixTree, ChildrenAreFoundByTheirTokensUnderTheirParent) {
  RadixTree tree({.num_pages = 8, .max_nodes = 8, .max_roots = 4}, {});
  const NodeId root = tree.open_root({});
  const NodeId a = tree.add_child(root, tokens_of(1));
  const NodeId b = tree.add_child(a, tokens_of(1));
  tree.set_page(a, 3);
  tree.set_page(b, 5);
  EXPECT_EQ(tree.find_child(root, tokens_of(1)), a);
  EXPECT_EQ(tree.find_child(a, tokens_of(1)), b);
  EXPECT_EQ(tree.find_child(b, tokens_of(1)), kNoNode);
  EXPECT_EQ(tree.find_child(root, tokens_of(2)), kNoNode);
  EXPECT_EQ(tree[a].depth, 0);
  EXPECT_EQ(tree[b].depth, 1);
  EXPECT_EQ(tree.owner(5), b);
  tree.check_invariants();
}

TEST(RadixTree, ARootLivesAsLongAsItIsUsed) {
  RadixTree tree({.num_pages = 8, .max_nodes = 8, .max_roots = 4}, {});
  const NodeId root = tree.open_root({.salt = "s"});
  EXPECT_EQ(tree.open_root({.salt = "s"}), root);
  const NodeId child = tree.add_child(root, tokens_of(1));
  tree.close_root(root);
  tree.close_root(root);
  EXPECT_EQ(tree.find_root({.salt = "s"}), root);
  tree.remove(child);
  EXPECT_EQ(tree.find_root({.salt = "s"}), kNoNode);
  EXPECT_EQ(tree.num_roots(), 0u);
  tree.check_invariants();
}

TEST(RadixTree, SiblingsCanGoInAnyOrder) {
  RadixTree tree({.num_pages = 64, .max_nodes = 64, .max_roots = 1}, {});
  const NodeId root = tree.open_root({});
  std::vector<NodeId> nodes;
  for (KeyToken i = 0; i < 64; ++i) {
    nodes.push_back(tree.add_child(root, tokens_of(i)));
    tree.set_slot(nodes.back(), static_cast<SlotId>(i));
  }
  for (const size_t i : {63, 0, 31, 32, 62, 1}) {
    tree.set_slot(nodes[i], kNoSlot);
    tree.remove(nodes[i]);
    tree.check_invariants();
    EXPECT_EQ(tree.find_child(root, tokens_of(i)), kNoNode);
  }
  EXPECT_EQ(tree.num_nodes(), 58);
  EXPECT_EQ(tree[root].num_stored_children, 58);
}

TEST(PageChain, KeysDependOnEverythingBefore) {
  const Digest a = root_key({1, 2}, {});
  EXPECT_EQ(a, root_key({1, 2}, {}));
  EXPECT_NE(a, root_key({1, 3}, {}));
  EXPECT_NE(root_key({}, {.adapter = "a", .salt = "b"}), root_key({}, {.adapter = "ab"}));
  EXPECT_NE(root_key({}, {.adapter = "a"}), root_key({}, {.salt = "a"}));
  EXPECT_NE(page_key(a, tokens_of(1)), page_key(a, tokens_of(2)));
  EXPECT_NE(page_key(a, tokens_of(1)), page_key(page_key(a, tokens_of(1)), tokens_of(1)));
}

}  // namespace
}  // namespace pagoda
