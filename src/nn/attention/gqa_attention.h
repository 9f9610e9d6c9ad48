// The attention block with grouped queries (GQA, https://arxiv.org/abs/2305.13245) over the paged cache.
#pragma once

#include <cstdint>

#include "kernels/kv_page.h"
#include "nn/attention/segment_split.h"
#include "nn/attention/token_places.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/step.h"

namespace pagoda {

struct AttentionSpec {
  NormSpec norm;
  int num_heads = 0;  // of queries
  int num_kv_heads = 0;
  int head_dim = 0;
  float scale = 1.0f;
  float softcap = 0.0f;  // of scores; 0: none
  int64_t window = 0;    // positions that a token sees, itself included; 0: all

  int64_t q_size() const { return int64_t{num_heads} * head_dim; }
  int64_t kv_size() const { return int64_t{num_kv_heads} * head_dim; }
};

// Cosines and sines of the batch's tokens: [num_tokens][rotary_dim / 2] each. rotary_dim 0: no rotation.
struct RotaryAngles {
  int64_t rotary_dim = 0;
  const float* cos = nullptr;
  const float* sin = nullptr;
};

// Floats of Step::wide that a token needs.
inline int64_t attention_wide_floats(const AttentionSpec& spec) {
  return 2 * spec.q_size() + 2 * spec.kv_size();
}

// Reads the residual stream, appends K and V to the layer's pages and adds the block's output to the residual
// stream. `next` are the linear layers that follow.
void run_gqa_attention(const Step& step, const AttentionSpec& spec, const AttentionWeights& weights,
                       const TokenPlaces& places, const RotaryAngles& angles, const KvLayerView& kv,
                       SegmentSplit& split, LinearGroup next) noexcept;

}  // namespace pagoda
