// What a client asked, and what it hears back.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sample/sampler.h"
#include "sample/sampling_params.h"
#include "text/constraint.h"

namespace pagoda {

using RequestId = uint64_t;

// How a prompt's hidden states become one vector.
enum class Pooling { last, mean, cls };  // cls: the first token's

struct Request {
  std::string external_id;      // "chatcmpl-…", for logs
  std::vector<int32_t> prompt;  // at least one token
  SamplingParams sampling;
  int32_t num_sequences = 1;      // n: continuations that share the prompt's pages
  int64_t max_tokens = 16;        // per sequence, cut at the context limit; 0: only compute the prompt
  int64_t min_tokens = 0;         // no end token or stop string before
  std::vector<std::string> stop;  // stop strings, found across token borders, not shown unless asked for
  std::vector<int32_t> stop_token_ids;  // beside the model's own end tokens
  bool include_stop_in_output = false;
  bool ignore_eos = false;
  bool skip_special_tokens = true;
  std::vector<int32_t> shown_special_tokens;  // that are in the text all the same
  bool want_prompt_logprobs = false;          // `echo` with logprobs, or prompt_logprobs
  int32_t num_prompt_logprobs =
      0;  // of each prompt token also the n best, if more than sampling.num_logprobs
  // What the output must fit; nothing: anything. Of this engine's tokenizer. Each sequence follows it by
  // itself:
  //  - A token that it refuses is never chosen, whatever logit_bias says. Logprobs stay those of all tokens.
  //  - End tokens can be chosen where the text may end. When nothing can follow, the sequence ends with
  //  `stop`
  //    at once, also before min_tokens and with ignore_eos.
  //  - Before min_tokens, and with ignore_eos always, end tokens are not chosen while anything else fits.
  //  - Stop strings and stop_token_ids end a sequence wherever they come up, be the text complete or not.
  // One that costs too much ends its request with an error.
  std::shared_ptr<const CompiledConstraint> constraint;
  int32_t priority = 0;  // lower goes first, where the policy looks at it
  uint64_t client = 0;   // who shares the engine fairly with others, where the policy looks at it
  // Instead of text, the prompt's pooled hidden states after the final norm, as they are (not normalised).
  // Needs max_tokens 0 and one sequence; every token is looked at, so that none may come from a cache.
  std::optional<Pooling> embed;
  std::string cache_salt;        // prompts share cached pages only under the same salt
  bool report_progress = false;  // on_progress while the prompt is computed
  bool report_timings = false;   // timings with every update

  // The best tokens that are kept of each prompt token.
  int32_t num_prompt_top() const { return std::max({sampling.num_logprobs, num_prompt_logprobs, 0}); }
};

enum class FinishReason { stop, length, cancelled, error };

// One token of one sequence.
struct TokenEvent {
  int32_t token = 0;
  float logprob = 0.0f;                        // if logprobs were asked for
  std::span<const TokenLogprob> top_logprobs;  // likewise; descending
  int32_t rank = 0;                            // of prompt tokens: 1 + the number of tokens more probable
};

struct RequestTimings {
  int64_t queued_ns = 0;   // arrival to first scheduled
  int64_t prefill_ns = 0;  // first scheduled to first token
  int64_t decode_ns = 0;   // first token to last
  int64_t waited_ns = 0;   // from arrival to the last token, in which no step computed anything of it
  int64_t num_prompt_tokens = 0;
  int64_t num_cached_tokens = 0;     // of the prompt, found in the cache
  int64_t num_swapped_tokens = 0;    // of those, read from the store
  int64_t num_kept_tokens = 0;       // of the prompt, computed and put in the cache
  int64_t num_generated_tokens = 0;  // of all sequences
  int32_t num_preemptions = 0;
};

// How far a prompt has been computed.
struct PromptProgress {
  int64_t num_prompt_tokens = 0;
  int64_t num_cached_tokens = 0;     // of them, found in the cache
  int64_t num_processed_tokens = 0;  // of them, known by now, cached ones among them
  int64_t elapsed_ns = 0;            // since the request was first scheduled
};

// News of one sequence of a request. `text` is whole characters that no stop string can take back any more;
// it may lag behind `tokens`. All spans and views are valid during the call only.
struct SequenceUpdate {
  int32_t index = 0;                           // 0 … num_sequences - 1
  std::span<const TokenEvent> tokens;          // new since the last update; an end token is among them
  std::string_view text;                       // new since the last update
  std::optional<FinishReason> finish;          // set once, in the last update of the sequence
  std::string_view stop_match;                 // the stop string, if one ended it
  int32_t stop_token = -1;                     // the end token, if one ended it
  std::optional<RequestTimings> timings = {};  // of the request so far, if asked for
};

// Where a request's news go. Called on the engine thread: implementations copy what they need, hand over and
// return at once. Calls of one request: on_progress* [on_prompt_logprobs | on_embedding] on_update* on_done.
class RequestSink {
 public:
  virtual ~RequestSink() = default;
  virtual void on_update(const SequenceUpdate& update) = 0;
  // If asked for: before the first step that computes tokens of the prompt, and after each that brings it
  // further than it has been; the last says that all are processed.
  virtual void on_progress(const PromptProgress&) {}
  // Log probabilities of prompt tokens 1 … n-1 (token 0 has none), if asked for; before the first update.
  virtual void on_prompt_logprobs(std::span<const TokenEvent> tokens) = 0;
  // [hidden_size], if asked for; valid during the call.
  virtual void on_embedding(std::span<const float>) {}
  // After all sequences have finished; the last call. Errors: cancelled, or what went wrong.
  virtual void on_done(const RequestTimings& timings, const Status& status) = 0;
};

}  // namespace pagoda
