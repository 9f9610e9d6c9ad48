#include "engine/publisher.h"

#include <algorithm>

#include "engine/stats_board.h"

namespace pagoda {

Publisher::Publisher(int32_t max_sequences, int32_t max_requests) {
  news_.reserve(static_cast<size_t>(max_sequences) + static_cast<size_t>(max_requests));
  finished_.reserve(static_cast<size_t>(max_requests));
}

void Publisher::add(Sequence& sequence) {
  if (!sequence.has_news) news_.push_back(&sequence);
  sequence.has_news = true;
  if (sequence.state == SequenceState::finished && sequence.request.num_unfinished == 0)
    finished_.push_back(&sequence.request);
}

void Publisher::tell_progress(RequestState& request, int64_t num_known_tokens, int64_t now_ns) {
  if (!request.request.report_progress) return;
  const int64_t num_processed = std::min(num_known_tokens, request.num_prompt());
  if (num_processed <= request.num_reported_tokens) return;
  request.num_reported_tokens = num_processed;
  request.sink->on_progress({.num_prompt_tokens = request.num_prompt(),
                             .num_cached_tokens = request.num_cached_tokens,
                             .num_processed_tokens = num_processed,
                             .elapsed_ns = now_ns - request.first_scheduled_ns});
}

void Publisher::publish() {
  for (Sequence* sequence : news_) publish_update(*sequence);
  for (RequestState* request : finished_) request->sink->on_done(timings_of(*request), request->status);
}

void Publisher::clear() {
  news_.clear();
  finished_.clear();
}

void Publisher::publish_update(Sequence& sequence) {
  RequestState& request = sequence.request;
  if (request.scores.wanted && !request.scores.published && request.scores.complete()) {
    request.scores.published = true;
    request.sink->on_prompt_logprobs(request.scores.events);
  }
  if (request.embedding.wanted() && request.embedding.complete() && request.status)
    request.sink->on_embedding(request.embedding.vector());
  SequenceUpdate update = sequence.output.news(sequence.index);
  if (request.request.report_timings) update.timings = timings_of(request);
  request.sink->on_update(update);
  sequence.output.clear_news();
  sequence.has_news = false;
}

}  // namespace pagoda
