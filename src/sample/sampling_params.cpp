#include "sample/sampling_params.h"

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

}  // namespace

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
  return check_logit_bias(params, vocab_size);
}

}  // namespace pagoda
