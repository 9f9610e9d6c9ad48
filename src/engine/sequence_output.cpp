#include "engine/sequence_output.h"

#include <algorithm>

#include "base/check.h"

namespace pagoda {

namespace {
constexpr size_t kTextReserve = 512;
}  // namespace

SequenceOutput::SequenceOutput(const Tokenizer& tokenizer, const Request& request, const EndRules& rules)
    : request_(&request),
      rules_(&rules),
      detokenizer_(
          tokenizer,
          request.skip_special_tokens ? Detokenizer::SpecialText::hide : Detokenizer::SpecialText::show,
          request.shown_special_tokens),
      matcher_(request.stop,
               request.include_stop_in_output ? StopMatcher::Match::show : StopMatcher::Match::hide) {
  tokens_.reserve(static_cast<size_t>(rules.max_tokens));
  text_.reserve(kTextReserve);
  scratch_.reserve(kTextReserve);
  top_logprobs_.reserve(static_cast<size_t>(max_top_logprobs(request.sampling)));
}

std::span<const int32_t> SequenceOutput::banned() const {
  return num_tokens() >= rules_->min_tokens ? rules_->suppressed : rules_->suppressed_early;
}

void SequenceOutput::push(const SampledToken& sampled) {
  PAGODA_CHECK(!finish_, "token {} after the end", sampled.token);
  tokens_.push_back(sampled.token);
  top_logprobs_.assign(sampled.top_logprobs.begin(), sampled.top_logprobs.end());
  event_ = {.token = sampled.token, .logprob = sampled.logprob, .top_logprobs = top_logprobs_};
  num_events_ = 1;
  const bool is_end = std::ranges::find(rules_->end_tokens, sampled.token) != rules_->end_tokens.end();
  if (!is_end || request_->include_stop_in_output) {
    scratch_.clear();
    detokenizer_.push(sampled.token, scratch_);
    append_text(scratch_);
  }
  if (is_end) {
    stop_token_ = sampled.token;
    finish(FinishReason::stop);
  } else if (matched_stop_) {
    finish_ = FinishReason::stop;
  } else if (num_tokens() >= rules_->max_tokens) {
    finish(FinishReason::length);
  }
}

void SequenceOutput::end(FinishReason reason) {
  if (!finish_) finish(reason);
}

void SequenceOutput::append_text(std::string_view text) {
  if (matched_stop_) return;
  if (num_tokens() <= rules_->min_tokens) {
    text_ += text;
  } else {
    matched_stop_ = matcher_.push(text, text_);
  }
}

void SequenceOutput::finish(FinishReason reason) {
  scratch_.clear();
  detokenizer_.finish(scratch_);
  append_text(scratch_);
  matcher_.finish(text_);
  finish_ = reason;
}

SequenceUpdate SequenceOutput::news(int32_t index) const {
  SequenceUpdate update{.index = index, .tokens = {&event_, num_events_}, .text = text_, .finish = finish_};
  if (matched_stop_) update.stop_match = request_->stop[*matched_stop_];
  update.stop_token = stop_token_;
  return update;
}

void SequenceOutput::clear_news() {
  text_.clear();
  num_events_ = 0;
}

}  // namespace pagoda
