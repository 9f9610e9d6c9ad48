// A model without weights for the engine to schedule: its forward pass only says what was asked of it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "base/clock.h"
#include "engine/engine.h"
#include "model/model.h"
#include "sched/cost_model.h"

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

// An engine about that model: on one thread, with tokens that have no text.
Engine::Parts simulated_parts(std::unique_ptr<SimulatedModel> model, std::shared_ptr<const Clock> clock,
                              CostModel costs);

}  // namespace pagoda
