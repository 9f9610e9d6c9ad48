#include "nn/embedding.h"

namespace pagoda {

void embed(const Step& step, const EmbeddingSpec& spec, const RowTable& tokens, const RowTable& positions,
           std::span<const int32_t> token_ids, std::span<const int32_t> token_positions) noexcept {
  const auto size = static_cast<size_t>(step.hidden_size);
  step.pool.parallel_for(token_ids.size(), ActivationRows::row_grain(step.hidden_size),
                         [&](size_t begin, size_t end, int worker) {
                           for (size_t t = begin; t < end; ++t) {
                             float* row = residual_row(step, static_cast<int64_t>(t));
                             tokens.read_row(token_ids[t], {row, size});
                             if (spec.scale != 1.0f)
                               step.kernels.ops.scale(row, spec.scale, step.hidden_size);
                             if (!positions.exists()) continue;
                             const std::span<float> position = worker_row(step, worker);
                             positions.read_row(token_positions[t] + spec.position_offset, position);
                             step.kernels.ops.add(row, position.data(), step.hidden_size);
                           }
                         });
}

}  // namespace pagoda
