// The two ends of a block (attention or FFN): from the residual stream to quantised, normalised rows and
// back.
#pragma once

#include <array>
#include <cstdint>

#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/step.h"

namespace pagoda {

// Normalises the residual rows and quantises them for linear layers of these formats.
void read_residual(const Step& step, const NormSpec& spec, const NormWeight& norm,
                   FormatSet formats) noexcept;

// The layers that read a block's input, in the order of their job.
inline std::array<const LinearWeight*, 3> first_linears(const AttentionWeights& weights) {
  return {&weights.q_proj, &weights.k_proj, &weights.v_proj};
}
inline std::array<const LinearWeight*, 2> first_linears(const FfnWeights& weights) {
  return {&weights.up_proj, &weights.gate_proj};
}

// Multiplies the current activations by the block's last linear layer and adds the result, normalised first
// where post_norm exists, to the residual stream. `next` are the linear layers that follow.
void add_to_residual(const Step& step, const LinearWeight& last, const NormSpec& spec,
                     const NormWeight& post_norm, LinearGroup next) noexcept;

}  // namespace pagoda
