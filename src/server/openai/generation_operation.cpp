#include "server/openai/generation_operation.h"

#include <algorithm>
#include <utility>

namespace pagoda {
namespace {

constexpr size_t kEventBytes = 128;  // a rough share of bookkeeping, so that empty news count too

std::vector<ScoredToken> copy_tokens(std::span<const TokenEvent> events) {
  std::vector<ScoredToken> tokens;
  tokens.reserve(events.size());
  for (const TokenEvent& event : events)
    tokens.push_back(
        {event.token, event.logprob, {event.top_logprobs.begin(), event.top_logprobs.end()}, event.rank});
  return tokens;
}

size_t bytes_of(std::span<const ScoredToken> tokens) {
  size_t bytes = tokens.size() * sizeof(ScoredToken);
  for (const ScoredToken& token : tokens) bytes += token.top_logprobs.size() * sizeof(TokenLogprob);
  return bytes;
}

}  // namespace

// Copies the news of one engine request; lives as long as the engine knows the request.
class GenerationOperation::Sink final : public RequestSink {
 public:
  Sink(std::shared_ptr<GenerationOperation> operation, size_t prompt, const Request& request,
       TokenIds token_ids)
      : operation_(std::move(operation)),
        prompt_(prompt),
        stop_token_ids_(request.stop_token_ids),
        wants_logprobs_(request.sampling.num_logprobs >= 0),
        shows_stop_(request.include_stop_in_output),
        token_ids_(token_ids) {}

  void on_update(const SequenceUpdate& update) override {
    SequenceNews news{.index = update.index,
                      .num_tokens = static_cast<int64_t>(update.tokens.size()),
                      .text = std::string(update.text),
                      .finish = update.finish,
                      .stop_match = std::string(update.stop_match)};
    if (std::ranges::find(stop_token_ids_, update.stop_token) != stop_token_ids_.end())
      news.stop_token = update.stop_token;
    if (wants_logprobs_) {
      const bool hides_last = update.stop_token >= 0 && !shows_stop_ && !update.tokens.empty();
      news.tokens = copy_tokens(update.tokens.first(update.tokens.size() - (hides_last ? 1 : 0)));
    }
    if (token_ids_ == TokenIds::keep)
      for (const TokenEvent& event : update.tokens) news.token_ids.push_back(event.token);
    const size_t bytes = news.text.size() + bytes_of(news.tokens) + news.token_ids.size() * sizeof(int32_t);
    operation_->add_event({prompt_, std::move(news)}, bytes);
  }
  void on_prompt_logprobs(std::span<const TokenEvent> tokens) override {
    operation_->add_event({prompt_, copy_tokens(tokens)}, 0);  // bounded by the context, and needed whole
  }
  void on_done(const RequestTimings& timings, const Status& status) override {
    operation_->add_event({prompt_, Done{timings, status}}, 0);
  }

 private:
  const std::shared_ptr<GenerationOperation> operation_;
  const size_t prompt_;
  const std::vector<int32_t> stop_token_ids_;
  const bool wants_logprobs_;
  const bool shows_stop_;
  const TokenIds token_ids_;
};

GenerationOperation::GenerationOperation(std::shared_ptr<const ServedModel> model, WorkerPool& workers,
                                         Prepare prepare)
    : model_(std::move(model)), workers_(workers), prepare_(std::move(prepare)) {}

void GenerationOperation::start(std::function<void()> wake) {
  wake_ = std::move(wake);
  workers_.post([self = shared_from_this()] { self->prepare(); });
}

void GenerationOperation::prepare() {
  {
    std::lock_guard lock(mutex_);
    if (abandoned_) return;
  }
  ApiResult<Generation> generation = prepare_();
  prepare_ = nullptr;
  if (!generation) return refuse(std::move(generation).error());
  presenter_ = std::move(generation->presenter);
  num_running_ = generation->requests.size();
  token_ids_ = generation->token_ids;
  if (std::optional<ApiError> error = submit_all(std::move(generation->requests)))
    return refuse(std::move(*error));
  {
    std::lock_guard lock(mutex_);
    phase_ = Phase::running;
  }
  wake_();
}

std::optional<ApiError> GenerationOperation::submit_all(std::vector<Request> requests) {
  for (size_t prompt = 0; prompt < requests.size(); ++prompt) {
    auto sink = std::make_shared<Sink>(shared_from_this(), prompt, requests[prompt], token_ids_);
    const Result<RequestId> id = model_->engine->submit(std::move(requests[prompt]), std::move(sink));
    if (!id) {
      cancel_all();
      const bool full = id.error().code == ErrorCode::overloaded;
      return full ? overloaded(std::max<int64_t>(1, model_->engine->retry_after_seconds()))
                  : to_api_error(id.error());
    }
    bool abandoned = false;
    {
      std::lock_guard lock(mutex_);
      ids_.push_back(*id);
      abandoned = abandoned_;
    }
    if (abandoned) {
      cancel_all();
      break;
    }
  }
  return std::nullopt;
}

void GenerationOperation::refuse(ApiError error) {
  {
    std::lock_guard lock(mutex_);
    phase_ = Phase::refused;
    refusal_ = std::move(error);
  }
  wake_();
}

void GenerationOperation::cancel_all() {
  std::vector<RequestId> ids;
  {
    std::lock_guard lock(mutex_);
    ids = ids_;
  }
  for (const RequestId id : ids) model_->engine->cancel(id);
}

void GenerationOperation::abandon() {
  {
    std::lock_guard lock(mutex_);
    abandoned_ = true;
    events_.clear();
  }
  cancel_all();
}

void GenerationOperation::add_event(Event event, size_t bytes) {
  bool overflows = false;
  {
    std::lock_guard lock(mutex_);
    if (abandoned_) return;
    const bool ends = std::holds_alternative<Done>(event.what);
    if (overflowed_ && !ends) return;
    events_.push_back(std::move(event));
    pending_bytes_ += bytes + kEventBytes;
    overflows =
        pending_bytes_ > kMaxPendingBytes && !std::exchange(overflowed_, pending_bytes_ > kMaxPendingBytes);
    if (phase_ != Phase::running || std::exchange(wake_pending_, true)) {
      if (!overflows) return;
    }
  }
  // On a worker: this is the engine's thread, in the middle of a step.
  if (overflows) workers_.post([self = shared_from_this()] { self->cancel_all(); });
  wake_();
}

void GenerationOperation::present(Event& event, std::string& out) {
  if (const auto* news = std::get_if<SequenceNews>(&event.what)) {
    const bool broken = news->finish == FinishReason::error || news->finish == FinishReason::cancelled;
    if (!broken) presenter_->update(event.prompt, *news, out);
  } else if (const auto* tokens = std::get_if<std::vector<ScoredToken>>(&event.what)) {
    presenter_->prompt_logprobs(event.prompt, *tokens, out);
  } else {
    const Done& done = std::get<Done>(event.what);
    presenter_->prompt_done(event.prompt, done.timings);
    --num_running_;
    if (!done.status && !failure_) failure_ = to_api_error(done.status.error());
  }
}

Operation::Progress GenerationOperation::poll() {
  std::vector<Event> events;
  {
    std::lock_guard lock(mutex_);
    if (phase_ == Phase::preparing) return {};
    if (phase_ == Phase::refused) return {.answer = to_response(*refusal_), .finished = true};
    events.swap(events_);
    pending_bytes_ = 0;
    wake_pending_ = false;
    if (overflowed_ && !failure_)
      failure_ = ApiError{.status = 408,
                          .message = "The client reads the answer too slowly; the request was cancelled.",
                          .code = "slow_reader"};
  }
  Progress progress;
  const bool first = !std::exchange(begun_, true);
  if (first) presenter_->begin(progress.bytes);
  for (Event& event : events) present(event, progress.bytes);
  if (failure_) {
    abandon();
    // As long as no byte was sent, a stream can fail with an honest status.
    if (first || !presenter_->streams()) return {.answer = to_response(*failure_), .finished = true};
    presenter_->fail(*failure_, progress.bytes);
  } else if (num_running_ == 0) {
    presenter_->end(progress.bytes);
  }
  progress.finished = failure_ || num_running_ == 0;
  if (first && presenter_->streams())
    progress.stream_head =
        HttpResponse{.content_type = "text/event-stream; charset=utf-8",
                     .headers = {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}}};
  if (progress.finished && !presenter_->streams())
    return {.answer = HttpResponse{.body = std::move(progress.bytes)}, .finished = true};
  return progress;
}

}  // namespace pagoda
