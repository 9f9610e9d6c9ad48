// How the next token is chosen; names and meanings as in the OpenAI API and vLLM.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "base/result.h"

namespace pagoda {

inline constexpr int32_t kMaxLogprobs = 20;
inline constexpr size_t kMaxLogitBiases = 1024;
inline constexpr size_t kMaxBadWords = 256;      // as token sequences
inline constexpr size_t kMaxBadWordTokens = 64;  // of one of them
inline constexpr size_t kMaxAllowedTokens = 16384;

struct SamplingParams {
  float temperature = 1.0f;         // below 1e-5: greedy; [0, 2] by the API, any positive number here
  int32_t top_k = 0;                // 0 or -1: all
  float top_p = 1.0f;               // (0, 1]
  float min_p = 0.0f;               // [0, 1]
  float repetition_penalty = 1.0f;  // > 0; over prompt and output
  float presence_penalty = 0.0f;    // [-2, 2]; over output
  float frequency_penalty = 0.0f;   // [-2, 2]; over output
  std::vector<std::pair<int32_t, float>>
      logit_bias;                               // token id (at most kMaxLogitBiases), bias in [-100, 100]
  std::vector<std::vector<int32_t>> bad_words;  // token sequences that the output may not hold
  std::vector<int32_t> allowed_tokens;          // ascending; if any, no other token may be chosen
  std::optional<uint64_t> seed;                 // none: the engine chooses one
  int32_t num_logprobs = -1;  // -1: none; 0: the chosen token's; n: also the n best (at most kMaxLogprobs)
  // If logprobs are wanted and any are named: theirs and the chosen token's in place of those of the n best.
  // Each once, fewer than kMaxLogprobs.
  std::vector<int32_t> logprob_tokens;
};

// The most logprobs that come with a chosen token, beside its own.
int32_t max_top_logprobs(const SamplingParams& params);

// Whether the best token is taken rather than one drawn.
bool is_greedy(const SamplingParams& params);
// Whether penalties depend on which tokens there have been.
bool has_penalty(const SamplingParams& params);
// Whether the token depends on the place of the greatest logit alone, where none is masked or banned.
bool needs_only_greatest(const SamplingParams& params);

// invalid_argument naming the parameter, if one is out of its range.
Status validate(const SamplingParams& params, int64_t vocab_size);

}  // namespace pagoda
