#include "sample/sampling_params.h"

#include <algorithm>
#include <cmath>

namespace pagoda {

namespace {

constexpr float kMaxBias = 100.0f;

// Written so that NaN is out of range.
Status check_range(const char* name, float value, float low, float high) {
  if (value >= low && value <= high) return {};
  return fail(ErrorCode::invalid_argument, "{} must be between {} and {}, got {}", name, low, high, value);
}

Status check_logit_bias(const SamplingParams& params, int64_t vocab_size) {
  if (params.logit_bias.size() > kMaxLogitBiases)
    return fail(ErrorCode::invalid_argument, "logit_bias has {} entries, at most {} are allowed",
                params.logit_bias.size(), kMaxLogitBiases);
  for (const auto& [token, bias] : params.logit_bias) {
    if (token < 0 || token >= vocab_size)
      return fail(ErrorCode::invalid_argument,
                  "logit_bias: token id {} is not in the vocabulary of {} tokens", token, vocab_size);
    PAGODA_TRY_STATUS(check_range("logit_bias", bias, -kMaxBias, kMaxBias));
  }
  return {};
}

Status check_token(const char* name, int32_t token, int64_t vocab_size) {
  if (token >= 0 && token < vocab_size) return {};
  return fail(ErrorCode::invalid_argument, "{}: token id {} is not in the vocabulary of {} tokens", name,
              token, vocab_size);
}

Status check_bad_words(const SamplingParams& params, int64_t vocab_size) {
  if (params.bad_words.size() > kMaxBadWords)
    return fail(ErrorCode::invalid_argument, "bad_words has {} token sequences, at most {} are allowed",
                params.bad_words.size(), kMaxBadWords);
  for (const std::vector<int32_t>& word : params.bad_words) {
    if (word.empty() || word.size() > kMaxBadWordTokens)
      return fail(ErrorCode::invalid_argument, "bad_words: a word has {} tokens, 1 to {} are allowed",
                  word.size(), kMaxBadWordTokens);
    for (const int32_t token : word) PAGODA_TRY_STATUS(check_token("bad_words", token, vocab_size));
  }
  return {};
}

Status check_allowed_tokens(const SamplingParams& params, int64_t vocab_size) {
  if (params.allowed_tokens.size() > kMaxAllowedTokens)
    return fail(ErrorCode::invalid_argument, "allowed_token_ids has {} entries, at most {} are allowed",
                params.allowed_tokens.size(), kMaxAllowedTokens);
  if (!std::ranges::is_sorted(params.allowed_tokens))
    return fail(ErrorCode::invalid_argument, "allowed_token_ids must ascend");
  for (const int32_t token : params.allowed_tokens)
    PAGODA_TRY_STATUS(check_token("allowed_token_ids", token, vocab_size));
  return {};
}

Status check_logprob_tokens(const SamplingParams& params, int64_t vocab_size) {
  if (std::ssize(params.logprob_tokens) >= kMaxLogprobs)
    return fail(ErrorCode::invalid_argument, "logprob_token_ids has {} entries, at most {} are allowed",
                params.logprob_tokens.size(), kMaxLogprobs - 1);
  for (const int32_t token : params.logprob_tokens)
    PAGODA_TRY_STATUS(check_token("logprob_token_ids", token, vocab_size));
  return {};
}

}  // namespace

int32_t max_top_logprobs(const SamplingParams& params) {
  if (params.num_logprobs < 0) return 0;
  return params.logprob_tokens.empty() ? params.num_logprobs
                                       : static_cast<int32_t>(params.logprob_tokens.size()) + 1;
}

bool is_greedy(const SamplingParams& params) {
  constexpr float kGreedyTemperature = 1e-5f;
  return params.temperature < kGreedyTemperature;
}

bool has_penalty(const SamplingParams& params) {
  return params.repetition_penalty != 1.0f || params.presence_penalty != 0.0f ||
         params.frequency_penalty != 0.0f;
}

bool needs_only_greatest(const SamplingParams& params) {
  return is_greedy(params) && params.num_logprobs < 0 && !has_penalty(params) && params.logit_bias.empty() &&
         params.bad_words.empty() && params.allowed_tokens.empty();
}

Status validate(const SamplingParams& params, int64_t vocab_size) {
  if (!(params.temperature >= 0.0f) || !std::isfinite(params.temperature))
    return fail(ErrorCode::invalid_argument, "temperature must be a number of at least 0, got {}",
                params.temperature);
  if (params.top_k < -1)
    return fail(ErrorCode::invalid_argument, "top_k must be positive, or 0 or -1 for no limit, got {}",
                params.top_k);
  if (!(params.top_p > 0.0f && params.top_p <= 1.0f))
    return fail(ErrorCode::invalid_argument, "top_p must be above 0 and at most 1, got {}", params.top_p);
  PAGODA_TRY_STATUS(check_range("min_p", params.min_p, 0.0f, 1.0f));
  if (!(params.repetition_penalty > 0.0f) || !std::isfinite(params.repetition_penalty))
    return fail(ErrorCode::invalid_argument, "repetition_penalty must be above 0, got {}",
                params.repetition_penalty);
  PAGODA_TRY_STATUS(check_range("presence_penalty", params.presence_penalty, -2.0f, 2.0f));
  PAGODA_TRY_STATUS(check_range("frequency_penalty", params.frequency_penalty, -2.0f, 2.0f));
  if (params.num_logprobs < -1 || params.num_logprobs > kMaxLogprobs)
    return fail(ErrorCode::invalid_argument, "top_logprobs must be between 0 and {}, got {}", kMaxLogprobs,
                params.num_logprobs);
  PAGODA_TRY_STATUS(check_bad_words(params, vocab_size));
  PAGODA_TRY_STATUS(check_allowed_tokens(params, vocab_size));
  PAGODA_TRY_STATUS(check_logprob_tokens(params, vocab_size));
  return check_logit_bias(params, vocab_size);
}

}  // namespace pagoda
