// What chat and text completions have in common: model, sampling, limits, stops and streaming.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/object.hpp>

#include "engine/request.h"
#include "server/openai/fields.h"
#include "server/openai/structured_output.h"
#include "text/tokenizer.h"

namespace pagoda {

// What parsing needs to know of the served model.
struct ModelLimits {
  int64_t vocab_size = 0;
  int64_t max_context = 0;
  int64_t max_choices = 0;          // n
  SamplingParams default_sampling;  // where a request does not say
};

inline constexpr size_t kMaxStopStrings = 16;
inline constexpr size_t kMaxStopBytes = 1024;  // of one stop string
inline constexpr size_t kMaxStopTokens = 64;
inline constexpr size_t kMaxBadWordStrings = kMaxBadWords / 2;  // each may be two token sequences
inline constexpr size_t kMaxBadWordBytes = 1024;                // of one of them
inline constexpr size_t kMaxCacheSaltBytes = 1024;

struct GenerationRequest {
  std::string model;  // empty: whatever is served
  Request engine;     // all but prompt, external_id, max_tokens and constraint
  std::optional<StructuredOutput> structured_output;
  std::optional<int64_t> max_tokens;
  int64_t default_max_tokens = std::numeric_limits<int64_t>::max();  // without max_tokens; cut to what fits
  std::string max_tokens_param = "max_tokens";                       // the name the client used
  bool stream = false;
  bool include_usage = false;
  bool continuous_usage = false;                        // usage in every chunk, if it is included at all
  std::optional<int64_t> num_prompt_logprobs;           // of the answer; the engine may look at more
  std::optional<int64_t> truncate_prompt;               // so many of its tokens; -1: what fits
  enum class Keep { end, beginning } keep = Keep::end;  // when it is truncated
  std::optional<bool> add_special_tokens;               // BOS before the prompt
  std::vector<std::string> bad_words;
  bool return_token_ids = false;
  bool tokens_as_ids = false;              // "token_id:5" in log probabilities
  std::vector<std::string> unread_fields;  // members of the body that the API does not have
};

// Reads the fields that all generating APIs have in common; errors stay in `fields`.
void read_generation_fields(Fields& fields, const ModelLimits& limits, GenerationRequest& out);
// Those of chat and text completions alone; after the common ones.
void read_completion_fields(Fields& fields, const ModelLimits& limits, GenerationRequest& out);

// Of a request that generates nothing, too: priority, cache_salt, truncate_prompt_tokens, add_special_tokens.
void read_request_fields(Fields& fields, GenerationRequest& out);

// llama.cpp's `n_predict`: a bound that counts where max_tokens is not given, cut to what the context holds;
// -1: by that alone.
void read_n_predict(Fields& fields, GenerationRequest& out);

// How long a chat's answer may be: `max_completion_tokens`, else `max_tokens`, else `n_predict`.
void read_max_tokens(Fields& fields, GenerationRequest& out);

// llama.cpp's `timings_per_token` and `return_progress`, of streams.
void read_running_reports(Fields& fields, GenerationRequest& out);

// The end of reading: the first error, or the names of the fields that nobody asked for.
std::optional<ApiError> finish_reading(Fields& fields, GenerationRequest& out);

// Both ways to write each of the bad words, as tokens, into the engine's sampling.
std::optional<ApiError> encode_bad_words(const Tokenizer& tokenizer, GenerationRequest& request);

// The engine's request for one prompt. 400 if the prompt, or prompt and max_tokens, exceed the context;
// max_tokens that the client did not give is cut to what fits. `prompt_param` is named in errors.
ApiResult<Request> make_engine_request(const GenerationRequest& generation, std::vector<int32_t> prompt,
                                       const ModelLimits& limits, std::string_view prompt_param);

}  // namespace pagoda
