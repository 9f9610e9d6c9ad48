// POST /v1/completions: body -> struct.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "server/openai/prompts.h"

namespace pagoda {

inline constexpr size_t kMaxPrompts = 128;  // of one request

struct CompletionRequest {
  GenerationRequest generation;
  std::vector<Prompt> prompts;  // at least one
  bool echo = false;
  bool wants_logprobs = false;
  int32_t num_returned = 1;  // n; `best_of` sequences are generated
};

ApiResult<CompletionRequest> parse_completion_request(std::string_view body, const ModelLimits& limits);

}  // namespace pagoda
