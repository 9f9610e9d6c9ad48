// What a client asked, and what it hears back.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "sample/sampler.h"
#include "sample/sampling_params.h"

namespace pagoda {

using RequestId = uint64_t;

struct Request {
  std::string external_id;                // "chatcmpl-…", for logs
  std::vector<int32_t> prompt;            // at least one token
  SamplingParams sampling;
  int32_t num_sequences = 1;              // n: continuations that share the prompt's pages
  int64_t max_tokens = 16;                // per sequence; the engine cuts it at the context limit
  int64_t min_tokens = 0;                 // no end token or stop string before
  std::vector<std::string> stop;          // stop strings, found across token borders, not shown unless asked for
  std::vector<int32_t> stop_token_ids;    // beside the model's own end tokens
  bool include_stop_in_output = false;
  bool ignore_eos = false;
  bool skip_special_tokens = true;
  bool want_prompt_logprobs = false;      // `echo` with logprobs
  int32_t priority = 0;
};

enum class FinishReason { stop, length, cancelled, error };

// One token of one sequence.
struct TokenEvent {
  int32_t token = 0;
  float logprob = 0.0f;                    // if logprobs were asked for
  std::vector<TokenLogprob> top_logprobs;  // likewise
};

// News of one sequence of a request. `text` is whole characters that no stop string can take back any more.
struct SequenceUpdate {
  int32_t index = 0;                       // 0 … num_sequences - 1
  std::vector<TokenEvent> tokens;          // new since the last update
  std::string text;
  std::optional<FinishReason> finish;      // set once, in the last update of the sequence
  std::string stop_match;                  // the stop string, if one ended it
  int32_t stop_token = -1;                 // the end token, if one ended it
};

struct RequestTimings {
  int64_t queued_ns = 0;         // arrival to first scheduled
  int64_t prefill_ns = 0;        // first scheduled to first token
  int64_t decode_ns = 0;         // first token to last
  int64_t num_prompt_tokens = 0;
  int64_t num_cached_tokens = 0; // of the prompt, found in the cache
  int64_t num_generated_tokens = 0;
  int32_t num_preemptions = 0;
};

// Where a request's news go. Called on the engine thread: implementations hand over and return at once.
class RequestSink {
 public:
  virtual ~RequestSink() = default;
  virtual void on_update(SequenceUpdate update) = 0;
  // Log probabilities of prompt tokens 1 … n-1 (token 0 has none), if asked for; before the first update.
  virtual void on_prompt_logprobs(std::vector<TokenEvent> tokens) = 0;
  // After all sequences have finished; the last call.
  virtual void on_done(const RequestTimings& timings, const Status& status) = 0;
};

}  // namespace pagoda
