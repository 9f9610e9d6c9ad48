// From a row of logits to a token. Random numbers come from (seed, position) through a counter-based
// generator (Philox4x32-10, Salmon et al., SC 2011), hence do not depend on batch mates, chunking or
// restarts.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/kernels.h"
#include "sample/ranked_draw.h"
#include "sample/sampling_params.h"
#include "sample/top_selector.h"

namespace pagoda {

inline constexpr int32_t kNoTokenAllowed = -2;

struct SampledToken {
  int32_t token = 0;                           // -1: the logits hold NaN or +infinity, or nothing else than
                                               // -infinity; kNoTokenAllowed: bans or the mask leave none
  float logprob = 0.0f;                        // valid if num_logprobs >= 0
  std::span<const TokenLogprob> top_logprobs;  // descending, ties by id; valid until the sampler's next call
  int32_t rank = 0;                            // of score() only: 1 + the number of tokens more probable
};

// What the choice of one token depends on beside its logits and parameters.
struct SamplingState {
  std::span<const int32_t> prompt;  // the penalties look at these two
  std::span<const int32_t> output;
  std::span<const int32_t> banned;  // may not be chosen (end tokens before min_tokens)
  uint64_t seed = 0;
  int64_t position = 0;  // of the token being chosen
  // Bit t % 32 of word t / 32: whether token t may be chosen. Empty: all may.
  std::span<const uint32_t> mask;
};

// Scratch for one vocabulary; not thread-safe. Allocates nothing after construction.
class Sampler {
 public:
  Sampler(const Kernels& kernels, int64_t vocab_size);
  // Memory that one sampler takes.
  static size_t scratch_bytes(int64_t vocab_size);

  // row: logits, [vocab_size], changed during the call and restored at its end. Order: logprobs, mask,
  // logit_bias, bans (banned, bad_words, allowed_tokens), penalties, temperature, top_k, top_p (of what top_k
  // left), min_p, draw.
  SampledToken sample(std::span<float> row, const SamplingParams& params, const SamplingState& state);
  // Logprob and rank of a given token (of a prompt), and the best ones, as sample() would report them.
  SampledToken score(std::span<const float> logits, int32_t token, int32_t num_logprobs);

 private:
  // A copy in which the tokens that the mask excludes are at -infinity.
  std::span<float> masked(std::span<const float> logits, std::span<const uint32_t> mask);
  void bias(std::span<float> logits, const SamplingParams& params);
  void ban(std::span<float> logits, const SamplingParams& params, const SamplingState& state);
  void penalise(std::span<float> logits, const SamplingParams& params, const SamplingState& state);
  // Sets a logit and remembers the original for restore().
  void change(std::span<float> logits, int32_t token, float value);
  void restore(std::span<float> logits);

  // `scaled`: logits over temperature; `random` in [0, 1).
  int32_t draw_from_all(std::span<const float> scaled, double random);
  int32_t draw_from_best(std::span<const float> scaled, const SamplingParams& params, double random);
  // The sum of exp(value - max), and of each block of kBlock values.
  double weigh_blocks(std::span<const float> scaled, float max);
  std::span<const TokenLogprob> best_logprobs(std::span<const float> logits, float log_total,
                                              int32_t num_logprobs);
  // Of the tokens that are asked for and the chosen one, in the same order.
  std::span<const TokenLogprob> named_logprobs(std::span<const float> logits, float log_total,
                                               std::span<const int32_t> asked, int32_t chosen);

  const Kernels* kernels_;
  std::unique_ptr<TopSelector> selector_;  // stays where it is when the sampler moves
  RankedDraw ranked_draw_;
  std::vector<float> scaled_;          // [vocab_size]
  std::vector<float> masked_;          // [vocab_size]
  std::vector<double> block_weights_;  // [ceil(vocab_size / kBlock)]
  std::vector<TokenLogprob> best_;     // what best_logprobs returns
  std::vector<TokenLogprob> changed_;  // original logits in order of change
  std::vector<int32_t> counts_;        // per token id; zero between calls
};

}  // namespace pagoda
