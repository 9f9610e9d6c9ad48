// A model without weights for the engine to schedule: its forward pass only says what was asked of it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "model/model.h"
#include "text/tokenizer.h"

namespace pagoda {

class SimulatedModel final : public Model {
 public:
  // In each pass; logits [rows][vocab_size] are 0 before.
  using OnForward = std::function<void(const ForwardBatch&, std::span<float> logits)>;

  // attention_share: arithmetic of attention for each position that a token sees, by the rest for a token.
  // The pages of its cache have a few bytes; nothing is written to them.
  SimulatedModel(int64_t max_context, int64_t vocab_size, double attention_share, OnForward on_forward);

  const ModelInfo& info() const override { return info_; }
  size_t workspace_bytes(const BatchLimits&) const override { return 64; }
  void forward(const ForwardBatch& batch, ForwardContext& context, std::span<float> logits) noexcept override;

 private:
  ModelInfo info_;
  OnForward on_forward_;
};

// A tokenizer whose tokens have no text.
std::shared_ptr<const Tokenizer> make_silent_tokenizer(int64_t vocab_size);

}  // namespace pagoda
