// Logits of given tokens, without requests, scheduling or sampling: what evaluations and benchmarks need. It
// drives the model as the engine does, over the same paged cache.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "base/result.h"
#include "base/thread_pool.h"
#include "kernels/kernels.h"
#include "model/model.h"

namespace pagoda {

struct EvaluatorLimits {
  int64_t max_context = 0;  // tokens of one sequence
  int32_t max_sequences = 1;
  int32_t max_tokens_per_step = 256;   // longer inputs are cut into chunks of this size
  std::optional<KvType> kv_type;       // default: the model's
  uint64_t memory_bytes = UINT64_MAX;  // weights, KV cache, scratch and logits together
};

// Holds the KV pool and the scratch memory. Model, kernels and pool must outlive it. Not thread-safe.
class Evaluator {
 public:
  // Called with the position of a token in its sequence and the logits [vocab_size] after it, in ascending
  // order.
  using OnLogits = std::function<void(int64_t position, std::span<const float> logits)>;

  // out_of_memory, naming both sizes, if the limits need more than memory_bytes; invalid_argument if the
  // limits exceed what the model was made for.
  static Result<Evaluator> create(Model& model, const Kernels& kernels, ThreadPool& pool,
                                  const EvaluatorLimits& limits);
  Evaluator(Evaluator&&) noexcept;
  Evaluator& operator=(Evaluator&&) noexcept;
  ~Evaluator();

  // Appends ids to a sequence in [0, max_sequences). on_logits hears of ids[first_wanted] and those after it:
  // 0: all, ids.size() - 1: the last, ids.size(): none (it may be empty then).
  // invalid_argument for an id outside the vocabulary or a sequence that outgrows max_context.
  Status append(int32_t sequence, std::span<const int32_t> ids, size_t first_wanted,
                const OnLogits& on_logits);

  // One step: tokens[i] is appended to sequence i. Returns the logits [tokens.size()][vocab_size], valid
  // until the next call; only_greatest: as ForwardBatch has it. Same errors.
  Result<std::span<const float>> step(std::span<const int32_t> tokens, bool only_greatest = false);

  // Forgets the tokens of a sequence from `length` on.
  void truncate(int32_t sequence, int64_t length);
  int64_t length(int32_t sequence) const;

 private:
  struct Impl;
  explicit Evaluator(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace pagoda
