// From a row of logits to a token. Random numbers come from (seed, position) through a counter-based generator
// (Philox4x32-10, Salmon et al., SC 2011), hence do not depend on batch mates, chunking or restarts.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/kernels.h"
#include "sample/sampling_params.h"

namespace pagoda {

struct TokenLogprob {
  int32_t token = 0;
  float logprob = 0.0f;  // natural logarithm, of the unmodified distribution (before penalties and temperature)
};

struct SampledToken {
  int32_t token = 0;
  float logprob = 0.0f;                       // valid if num_logprobs >= 0
  std::span<const TokenLogprob> top_logprobs;  // descending; valid until the sampler's next call
};

// What the penalties look at.
struct SamplingHistory {
  std::span<const int32_t> prompt;
  std::span<const int32_t> output;
};

// Scratch for one vocabulary; not thread-safe. Allocates nothing after construction.
class Sampler {
 public:
  Sampler(const Kernels& kernels, int64_t vocab_size);

  // logits: [vocab_size], may be overwritten. Order: logprobs, logit_bias, penalties, temperature, top_k, top_p,
  // min_p, draw. `position` is the position of the token being chosen.
  SampledToken sample(std::span<float> logits, const SamplingParams& params, const SamplingHistory& history,
                      int64_t position);

 private:
  const Kernels* kernels_;
  std::vector<TokenLogprob> candidates_;
  std::vector<TokenLogprob> top_;
  std::vector<int32_t> counts_;  // per token id; zero between calls
};

// Uniform in [0, 1) with 24 bits, from (seed, position, stream).
float uniform(uint64_t seed, uint64_t position, uint32_t stream);

}  // namespace pagoda
