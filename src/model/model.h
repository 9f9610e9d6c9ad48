// What the engine knows of a model: it turns a batch of tokens into rows of logits, reading and writing paged
// KV.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/kernels.h"
#include "kv/kv_pool.h"
#include "nn/workspace.h"

namespace pagoda {

// Tokens of one sequence in a batch: [token_begin, token_begin + num_tokens) of the flat arrays.
struct SequenceSlice {
  int32_t token_begin = 0;
  int32_t num_tokens = 0;
  int64_t first_position = 0;          // = tokens already in the cache
  std::span<const PageId> page_table;  // covers first_position + num_tokens positions
};

// One step's work as flat arrays. There is no phase: a decode is one token, a prefill chunk several.
struct ForwardBatch {
  std::span<const int32_t> token_ids;        // [num_tokens], each in [0, vocab_size)
  std::span<const int32_t> positions;        // [num_tokens]
  std::span<const SequenceSlice> sequences;  // in order, covering all tokens
  std::span<const int32_t> logits_rows;  // ascending indices of tokens whose logits are wanted; may be empty
  // Likewise, after all logits_rows: tokens whose hidden states are wanted, after the final norm.
  std::span<const int32_t> hidden_rows = {};
  // Of each row of logits only the greatest value is wanted, and the first index that has it. The others may
  // then be approximations, all of them less.
  bool only_greatest = false;
};

// Everything a forward pass may touch beside the batch and its own weights.
struct ForwardContext {
  ThreadPool& pool;
  const Kernels& kernels;
  KvPool& kv;
  Workspace& workspace;
  std::span<float> hidden = {};  // [hidden_rows.size()][hidden_size], written
};

// The most that one forward pass will be asked for; sizes the workspace.
struct BatchLimits {
  int32_t max_tokens = 0;
  int32_t max_sequences = 0;
  int32_t max_logits_rows = 0;
  int64_t max_context = 0;
  int num_threads = 1;
};

struct ModelInfo {
  std::string architecture;  // "llama", "qwen2", …
  std::string name;          // as the file calls it; may be empty
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t max_context = 0;  // positions that the model was made for
  int64_t num_parameters = 0;
  KvShape kv_shape;              // with the dtype chosen for the cache
  uint64_t weight_bytes = 0;     // packed, in memory: without tables that are read in the file
  uint64_t bytes_per_token = 0;  // weight bytes that one decoded token reads
  // Likewise, where only the best next token is wanted: without those few that turn out to be needed.
  uint64_t screened_bytes_per_token = 0;
  uint64_t macs_per_token = 0;  // multiply-adds of the linear layers without the vocabulary projection
  uint64_t head_macs = 0;       // multiply-adds of one row of the vocabulary projection
  int num_query_heads = 0;
  std::vector<int64_t> layer_windows;  // [layers] positions that a token sees, itself included; 0: all
};

class Model {
 public:
  virtual ~Model() = default;
  virtual const ModelInfo& info() const = 0;
  virtual size_t workspace_bytes(const BatchLimits& limits) const = 0;
  // Appends K and V of all tokens to their pages and writes logits[i * vocab_size ...] for logits_rows[i]
  // and context.hidden[i * hidden_size ...] for hidden_rows[i].
  // A row's bits depend only on the tokens before it in its own sequence. Allocates nothing.
  virtual void forward(const ForwardBatch& batch, ForwardContext& context,
                       std::span<float> logits) noexcept = 0;
};

}  // namespace pagoda
