// What a sequence has produced: its tokens, the text they make, and when that is the end.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/request.h"
#include "engine/stop_matcher.h"
#include "sample/sampler.h"
#include "text/tokenizer.h"

namespace pagoda {

// When a sequence ends, the same for all sequences of a request.
struct EndRules {
  std::vector<int32_t> end_tokens;  // the model's (unless ignored) and the request's own
  // Tokens that are never chosen: the model's end tokens, if a constraint allows what the request ignores.
  std::vector<int32_t> suppressed;
  std::vector<int32_t> suppressed_early;  // both of the above, before min_tokens
  int64_t min_tokens = 0;
  int64_t max_tokens = 0;  // cut at the context limit
};

// Takes all its memory at construction, save that of text longer than any before.
class SequenceOutput {
 public:
  // All three must outlive it.
  SequenceOutput(const Tokenizer& tokenizer, const Request& request, const EndRules& rules);

  std::span<const int32_t> tokens() const { return tokens_; }
  int64_t num_tokens() const { return static_cast<int64_t>(tokens_.size()); }
  std::optional<FinishReason> finish_reason() const { return finish_; }

  // Tokens that may not come next.
  std::span<const int32_t> banned() const;
  // Copies a sampled token; finish_reason() says whether it was the last.
  void push(const SampledToken& sampled);
  // Ends the sequence from outside.
  void end(FinishReason reason);

  // News since the last clear_news(); the views live until then.
  SequenceUpdate news(int32_t index) const;
  void clear_news();

 private:
  void append_text(std::string_view text);
  void finish(FinishReason reason);

  const Request* request_;
  const EndRules* rules_;
  Detokenizer detokenizer_;
  StopMatcher matcher_;
  std::vector<int32_t> tokens_;
  std::optional<FinishReason> finish_;
  std::optional<size_t> matched_stop_;
  int32_t stop_token_ = -1;
  std::string text_;     // news
  std::string scratch_;  // text of one token
  TokenEvent event_;
  std::vector<TokenLogprob> top_logprobs_;
  size_t num_events_ = 0;
};

}  // namespace pagoda
