#include "nn/ffn.h"

#include <array>

#include "nn/block.h"
#include "nn/linear.h"

namespace pagoda {

void run_ffn(const Step& step, const FfnSpec& spec, const FfnWeights& weights, LinearGroup next) noexcept {
  const int64_t size = spec.intermediate_size;
  FormatSet input_formats;
  input_formats.add(weights.gate_proj);
  input_formats.add(weights.up_proj);
  read_residual(step, spec.norm, weights.norm, input_formats);

  const bool is_gated = weights.gate_proj.exists();
  float* up = step.wide.data();
  float* gate = up + step.num_tokens * size;
  const std::array calls = {LinearCall{&weights.up_proj, up, size},
                            LinearCall{&weights.gate_proj, gate, size}};
  const std::array down = {&weights.down_proj};
  announce_linears(step.pool, step.kernels, step.num_tokens, down);
  run_linears(step.pool, step.kernels, step.activations, step.num_tokens,
              std::span(calls).first(is_gated ? 2 : 1));

  FormatSet down_formats;
  down_formats.add(weights.down_proj);
  step.activations.quantize(
      step.pool, step.kernels, down_formats, step.num_tokens, size, [&](int64_t token, int) -> const float* {
        float* row = up + token * size;
        if (is_gated)
          step.kernels.ops.activate_and_multiply(spec.activation, gate + token * size, row, size, row);
        else
          step.kernels.ops.activate(spec.activation, row, size);
        return row;
      });
  add_to_residual(step, weights.down_proj, spec.norm, weights.post_norm, next);
}

}  // namespace pagoda
