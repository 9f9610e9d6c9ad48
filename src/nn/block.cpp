#include "nn/block.h"

#include <array>

namespace pagoda {

void read_residual(const Step& step, const NormSpec& spec, const NormWeight& norm,
                   FormatSet formats) noexcept {
  step.activations.quantize(step.pool, step.kernels, formats, step.num_tokens, step.hidden_size,
                            [&](int64_t token, int worker) -> const float* {
                              float* row = worker_row(step, worker).data();
                              normalize(step.kernels, spec, norm, residual_row(step, token), step.hidden_size,
                                        row);
                              return row;
                            });
}

void add_to_residual(const Step& step, const LinearWeight& last, const NormSpec& spec,
                     const NormWeight& post_norm, LinearGroup next) noexcept {
  announce_linears(step.pool, step.kernels, step.num_tokens, next);
  if (!post_norm.exists()) {
    const std::array calls = {LinearCall{&last, step.residual.data(), step.hidden_size, Store::add}};
    return run_linears(step.pool, step.kernels, step.activations, step.num_tokens, calls);
  }
  float* output = step.block_output.data();
  const std::array calls = {LinearCall{&last, output, step.hidden_size, Store::overwrite}};
  run_linears(step.pool, step.kernels, step.activations, step.num_tokens, calls);
  step.pool.parallel_for(static_cast<size_t>(step.num_tokens), ActivationRows::row_grain(step.hidden_size),
                         [&](size_t begin, size_t end, int) {
                           for (auto token = static_cast<int64_t>(begin); token < static_cast<int64_t>(end);
                                ++token) {
                             float* row = output + token * step.hidden_size;
                             normalize(step.kernels, spec, post_norm, row, step.hidden_size, row);
                             step.kernels.ops.add(residual_row(step, token), row, step.hidden_size);
                           }
                         });
}

}  // namespace pagoda
