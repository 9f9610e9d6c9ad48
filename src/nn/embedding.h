// From token ids to the first residual stream.
#pragma once

#include <cstdint>
#include <span>

#include "nn/step.h"
#include "weights/decoder_weights.h"

namespace pagoda {

struct EmbeddingSpec {
  float scale = 1.0f;           // of token embeddings
  int64_t position_offset = 0;  // learned positions: row of position 0
};

// residual[t] = scale * tokens[token_ids[t]] + positions[positions[t] + offset], the latter where the table
// exists.
void embed(const Step& step, const EmbeddingSpec& spec, const RowTable& tokens, const RowTable& positions,
           std::span<const int32_t> token_ids, std::span<const int32_t> token_positions) noexcept;

}  // namespace pagoda
