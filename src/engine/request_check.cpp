#include "engine/request_check.h"

#include <algorithm>

#include "kv/kv_cache.h"

namespace pagoda {

namespace {

constexpr size_t kMaxStops = 64;

Status check_tokens(const char* name, std::span<const int32_t> tokens, int64_t vocab_size) {
  for (const int32_t token : tokens)
    if (token < 0 || token >= vocab_size)
      return fail(ErrorCode::invalid_argument, "{}: token id {} is not in the vocabulary of {} tokens", name,
                  token, vocab_size);
  return {};
}

Status check_prompt(const Request& request, const EngineConfig& config, int64_t vocab_size) {
  const auto num_prompt = static_cast<int64_t>(request.prompt.size());
  if (num_prompt == 0)
    return fail(ErrorCode::invalid_argument, "the prompt is empty: it needs at least one token");
  const int64_t max_prompt = config.max_context - (request.max_tokens > 0 ? 1 : 0);
  if (num_prompt > max_prompt)
    return fail(
        ErrorCode::invalid_argument,
        "the prompt has {} tokens, but the maximum context length is {} tokens, prompt and output together",
        num_prompt, config.max_context);
  if (pages_for(num_prompt) > config.num_pages)
    return fail(ErrorCode::invalid_argument, "the prompt has {} tokens, but the KV cache holds {} tokens",
                num_prompt, config.kv_capacity_tokens());
  return check_tokens("prompt", request.prompt, vocab_size);
}

}  // namespace

Status check_request(const Request& request, const EngineConfig& config, int64_t vocab_size) {
  PAGODA_TRY_STATUS(check_prompt(request, config, vocab_size));
  if (request.num_sequences < 1 || request.num_sequences > config.max_sequences)
    return fail(ErrorCode::invalid_argument, "n must be between 1 and {}, got {}", config.max_sequences,
                request.num_sequences);
  if (request.max_tokens < 0)
    return fail(ErrorCode::invalid_argument, "max_tokens must not be negative, got {}", request.max_tokens);
  if (request.min_tokens < 0 || request.min_tokens > request.max_tokens)
    return fail(ErrorCode::invalid_argument, "min_tokens must be between 0 and max_tokens, {}, got {}",
                request.max_tokens, request.min_tokens);
  if (request.stop.size() > kMaxStops || request.stop_token_ids.size() > kMaxStops)
    return fail(ErrorCode::invalid_argument,
                "stop and stop_token_ids may have {} entries each, got {} and {}", kMaxStops,
                request.stop.size(), request.stop_token_ids.size());
  if (std::ranges::any_of(request.stop, &std::string::empty))
    return fail(ErrorCode::invalid_argument, "stop: a stop string is empty");
  if (request.num_prompt_logprobs < 0 || request.num_prompt_logprobs > kMaxLogprobs)
    return fail(ErrorCode::invalid_argument, "prompt_logprobs must be between 0 and {}, got {}", kMaxLogprobs,
                request.num_prompt_logprobs);
  if (request.embed &&
      (request.max_tokens != 0 || request.num_sequences != 1 || request.want_prompt_logprobs))
    return fail(ErrorCode::invalid_argument, "an embedding generates nothing: max_tokens must be 0 and n 1");
  PAGODA_TRY_STATUS(check_tokens("stop_token_ids", request.stop_token_ids, vocab_size));
  return validate(request.sampling, vocab_size);
}

}  // namespace pagoda
