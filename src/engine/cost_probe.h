// The first coefficients of a cost model: guessed from the model's size, then measured in a few forward
// passes.
#pragma once

#include <cstdint>
#include <span>

#include "base/clock.h"
#include "model/model.h"
#include "sched/cost_model.h"

namespace pagoda {

// As good as can be without running: what is read by a common memory bandwidth, what is multiplied by a
// common arithmetic speed.
CostModel guess_costs(const ModelInfo& info, int num_threads);

// Memory and limits of an engine that has nothing to do yet.
struct CostProbe {
  Model& model;
  ForwardContext& context;
  std::span<float> logits;  // for limits.max_logits_rows rows
  BatchLimits limits;
  const Clock& clock;
};

// Times passes of several shapes and fits `costs` to them. Takes about max_ns, of slow models fewer shapes.
// Writes to pages of the pool: none may be held. Sampling is not measured.
void probe_costs(const CostProbe& probe, int64_t max_ns, CostModel& costs);

}  // namespace pagoda
