#include "engine/sequence.h"

#include <algorithm>

#include "base/check.h"
#include "sample/philox.h"

namespace pagoda {

Sequence::Sequence(RequestState& owner, int32_t index_in_request, const Tokenizer& tokenizer)
    : request(owner), index(index_in_request), output(tokenizer, owner.request, owner.rules) {
  arrival_ns = owner.arrival_ns;
  priority = owner.request.priority;
  client = owner.request.client;
  max_generated = owner.rules.max_tokens;
}

int64_t Sequence::num_known() const {
  return request.num_prompt() + output.num_tokens();
}

int32_t Sequence::token(int64_t position) const {
  const auto& prompt = request.request.prompt;
  const auto i = static_cast<size_t>(position);
  return i < prompt.size() ? prompt[i] : output.tokens()[i - prompt.size()];
}

int64_t Sequence::max_cached() const {
  if (request.embedding.wanted()) return 0;
  return std::min(num_known() - 1, request.scores.complete() ? num_known() : request.scores.num_scored);
}

PageTokens SequenceKeys::page(int64_t index) const {
  PageTokens tokens;
  for (int64_t i = 0; i < kPageTokens; ++i)
    tokens[static_cast<size_t>(i)] = text_key(sequence_.token(index * kPageTokens + i));
  return tokens;
}

PromptScores::PromptScores(const Request& request) : wanted(request.want_prompt_logprobs) {
  if (!wanted) return;
  num_rows = static_cast<int64_t>(request.prompt.size()) - 1;
  events.resize(static_cast<size_t>(num_rows));
  top_logprobs.resize(static_cast<size_t>(num_rows) * static_cast<size_t>(request.num_prompt_top()));
}

void PromptScores::set(int64_t row, const SampledToken& scored, int32_t num_top) {
  const auto stride = static_cast<size_t>(num_top);
  TokenLogprob* top = top_logprobs.data() + static_cast<size_t>(row) * stride;
  std::ranges::copy(scored.top_logprobs, top);
  events[static_cast<size_t>(row)] = {
      scored.token, scored.logprob, {top, scored.top_logprobs.size()}, scored.rank};
}

RequestState::RequestState(Request wish, std::shared_ptr<RequestSink> listener, EndRules end_rules,
                           const Tokenizer& tokenizer, int64_t now_ns)
    : request(std::move(wish)),
      prefix{.salt = request.cache_salt},
      rules(std::move(end_rules)),
      sink(std::move(listener)),
      scores(request),
      num_unfinished(request.num_sequences),
      arrival_ns(now_ns) {
  for (int32_t index = 0; index < request.num_sequences; ++index)
    sequences.push_back(std::make_unique<Sequence>(*this, index, tokenizer));
  leader().state = SequenceState::waiting;
}

Status RequestState::start_constraints() {
  if (!request.constraint) return {};
  for (const auto& sequence : sequences) {
    PAGODA_TRY(sequence->constraint, request.constraint->start());
  }
  return {};
}

void RequestState::prepare_embedding(int64_t hidden_size) {
  if (request.embed) embedding = EmbeddingPool(*request.embed, num_prompt(), hidden_size);
}

void RequestState::set_id(RequestId request_id, uint64_t default_seed) {
  // Ids of sequences ascend in order of arrival, those of a request by index.
  constexpr int kIndexBits = 16;
  PAGODA_CHECK(request.num_sequences <= 1 << kIndexBits, "{} sequences", request.num_sequences);
  id = request_id;
  const uint64_t seed = request.sampling.seed.value_or(default_seed);
  for (const auto& sequence : sequences) {
    sequence->id = (request_id << kIndexBits) | static_cast<SequenceId>(sequence->index);
    sequence->seed = derive_seed(seed, static_cast<uint64_t>(sequence->index));
  }
}

void RequestState::finish_prompt(int64_t num_published) {
  prompt_done = true;
  // A page that was taken in part is in the cache already.
  num_kept_tokens = std::max<int64_t>(0, num_published - pages_for(num_cached_tokens) * kPageTokens);
}

int32_t RequestState::num_followers() const {
  return static_cast<int32_t>(std::ranges::count_if(
      sequences, [](const auto& sequence) { return sequence->state == SequenceState::follower; }));
}

}  // namespace pagoda
