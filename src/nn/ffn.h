// The dense feed-forward block: down(act(up(x))), or down(act(gate(x)) * up(x)) where a gate exists.
#pragma once

#include <cstdint>

#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/step.h"

namespace pagoda {

struct FfnSpec {
  NormSpec norm;
  int64_t intermediate_size = 0;
  Activation::Kind activation = Activation::Kind::silu;
};

// Floats of Step::wide that a token needs.
inline int64_t ffn_wide_floats(const FfnSpec& spec) {
  return 2 * spec.intermediate_size;
}

// Reads the residual stream and adds the block's output to it. `next` are the linear layers that follow.
void run_ffn(const Step& step, const FfnSpec& spec, const FfnWeights& weights, LinearGroup next) noexcept;

}  // namespace pagoda
