#include "engine/publisher.h"

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
  request.sink->on_update(sequence.output.news(sequence.index));
  sequence.output.clear_news();
  sequence.has_news = false;
}

}  // namespace pagoda
