// The sequences of a batch in the paged cache, and the pieces of attention work that they make.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/kv_page.h"

namespace pagoda {

// Tokens of one sequence in a batch.
struct AttentionSequence {
  int64_t token_begin = 0;
  int64_t num_tokens = 0;
  int64_t first_position = 0;
  const PageId* page_table = nullptr;
};

// A piece of work for one thread: some tokens of one sequence, one KV head.
struct AttentionItem {
  int32_t sequence = 0;
  int32_t kv_head = 0;
  int32_t token_begin = 0;  // in the sequence's tokens
  int32_t token_end = 0;
};

inline constexpr int64_t kAttentionTileTokens = 16;

// The most items that a batch can have.
inline int64_t max_attention_items(int64_t max_tokens, int64_t max_sequences, int num_kv_heads) {
  return (max_tokens / kAttentionTileTokens + max_sequences) * num_kv_heads;
}

// The same for all layers of a step. Built in memory that the caller provides.
class TokenPlaces {
 public:
  // sequences: [max_sequences], items: [max_attention_items(…)].
  TokenPlaces(std::span<AttentionSequence> sequences, std::span<AttentionItem> items)
      : sequences_(sequences), items_(items) {}
  TokenPlaces() = default;

  void add(const AttentionSequence& sequence, int num_kv_heads);

  std::span<const AttentionSequence> sequences() const { return sequences_.first(num_sequences_); }
  std::span<const AttentionItem> items() const { return items_.first(num_items_); }

 private:
  std::span<AttentionSequence> sequences_;
  std::span<AttentionItem> items_;
  size_t num_sequences_ = 0;
  size_t num_items_ = 0;
};

}  // namespace pagoda
