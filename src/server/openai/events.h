// What the engine said of a request, copied so that it can wait for the I/O thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/request.h"

namespace pagoda {

struct ScoredToken {
  int32_t token = 0;
  float logprob = 0.0f;
  std::vector<TokenLogprob> top_logprobs;
  int32_t rank = 0;  // of prompt tokens
};

// News of one sequence. `tokens` are kept only if logprobs were asked for; an end token is among them.
struct SequenceNews {
  int32_t index = 0;
  std::vector<ScoredToken> tokens;
  std::vector<int32_t> token_ids;  // all of them, if asked for
  int64_t num_tokens = 0;
  std::string text;
  std::optional<FinishReason> finish;
  std::string stop_match;
  int32_t stop_token = -1;                     // the one of stop_token_ids that ended it
  std::optional<RequestTimings> timings = {};  // of the request so far, if asked for
};

}  // namespace pagoda
