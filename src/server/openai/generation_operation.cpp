#include "server/openai/generation_operation.h"

#include <algorithm>
#include <utility>

namespace pagoda {
namespace {

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
  Sink(std::shared_ptr<GenerationOperation> operation, uint32_t prompt, const Request& request,
       TokenIds token_ids)
      : operation_(std::move(operation)),
        prompt_(prompt),
        stop_token_ids_(request.stop_token_ids),
        wants_logprobs_(request.sampling.num_logprobs >= 0),
        token_ids_(token_ids) {}

  void on_update(const SequenceUpdate& update) override {
    operation_->num_generated_tokens_ += std::ssize(update.tokens);
    operation_->place_.tenant().take_generated(std::ssize(update.tokens));
    // What a broken sequence has to say comes with the end of its request.
    if (update.finish == FinishReason::error || update.finish == FinishReason::cancelled) return;
    SequenceNews news{.index = update.index,
                      .num_tokens = static_cast<int64_t>(update.tokens.size()),
                      .text = std::string(update.text),
                      .finish = update.finish,
                      .stop_match = std::string(update.stop_match),
                      .timings = update.timings};
    if (std::ranges::find(stop_token_ids_, update.stop_token) != stop_token_ids_.end())
      news.stop_token = update.stop_token;
    if (wants_logprobs_) news.tokens = copy_tokens(update.tokens);
    if (token_ids_ == TokenIds::keep)
      for (const TokenEvent& event : update.tokens) news.token_ids.push_back(event.token);
    const size_t bytes = news.text.size() + bytes_of(news.tokens) + news.token_ids.size() * sizeof(int32_t);
    add(std::move(news), bytes);
  }
  void on_progress(const PromptProgress& progress) override { add(progress, 0); }
  void on_prompt_logprobs(std::span<const TokenEvent> tokens) override {
    add(copy_tokens(tokens), 0);  // bounded by the context, and needed whole
  }
  void on_done(const RequestTimings& timings, const Status& status) override {
    add(Done{timings, status}, 0);
  }

 private:
  template <typename What>
  void add(What what, size_t bytes) {
    operation_->add_event({prompt_, static_cast<uint32_t>(bytes + sizeof(Event)), std::move(what)});
  }

  const std::shared_ptr<GenerationOperation> operation_;
  const uint32_t prompt_;
  const std::vector<int32_t> stop_token_ids_;
  const bool wants_logprobs_;
  const TokenIds token_ids_;
};

GenerationOperation::GenerationOperation(AppContext& context, std::shared_ptr<const ServedModel> model,
                                         RequestTerms terms, Prepare prepare)
    : model_(std::move(model)),
      context_(context),
      terms_(std::move(terms)),
      place_(terms_.tenant),
      prepare_(std::move(prepare)),
      deadline_(terms_.deadline) {}

void GenerationOperation::start(std::function<void()> wake) {
  wake_ = std::move(wake);
  start_ = std::chrono::steady_clock::now();
  if (!place_.enter()) {
    context_.refusals.count(Refusal::key_concurrency);
    return refuse(too_many_concurrent(place_.tenant(), model_->engine->retry_after_seconds()));
  }
  context_.workers.post([self = shared_from_this()] { self->prepare(); });
}

void GenerationOperation::prepare() {
  {
    std::lock_guard lock(mutex_);
    if (abandoned_) return;
  }
  ApiResult<Generation> generation = prepare_();
  prepare_ = nullptr;
  if (!generation) return refuse(std::move(generation).error());
  int64_t num_prompt_tokens = 0;
  int64_t max_tokens = 0;
  for (const Request& request : generation->requests) {
    num_prompt_tokens += static_cast<int64_t>(request.prompt.size());
    max_tokens = std::max(max_tokens, request.max_tokens);
  }
  num_prompt_tokens_ = num_prompt_tokens;
  const Demand demand{
      .num_prompt_tokens = num_prompt_tokens,
      .deadline = deadline_of(*generation->presenter),
      .queue_wait_seconds = model_->engine->forecast(num_prompt_tokens, max_tokens).queue_seconds};
  if (std::optional<ApiError> error = check_terms(demand, place_.tenant(), context_.refusals))
    return refuse(std::move(*error));
  presenter_ = std::move(generation->presenter);
  num_running_ = generation->requests.size();
  token_ids_ = generation->token_ids;
  submitted_after_ns_ = std::chrono::nanoseconds(std::chrono::steady_clock::now() - start_).count();
  if (std::optional<ApiError> error = submit_all(std::move(generation->requests))) {
    place_.tenant().give_back(num_prompt_tokens);
    return refuse(std::move(*error));
  }
  {
    std::lock_guard lock(mutex_);
    phase_ = Phase::running;
  }
  wake_();
}

std::optional<Deadline> GenerationOperation::deadline_of(const Presenter& presenter) const {
  return terms_.deadline || presenter.streams() ? terms_.deadline : terms_.patience;
}

std::optional<ApiError> GenerationOperation::submit_all(std::vector<Request> requests) {
  for (uint32_t prompt = 0; prompt < requests.size(); ++prompt) {
    requests[prompt].client ^= place_.tenant().client();
    auto sink = std::make_shared<Sink>(shared_from_this(), prompt, requests[prompt], token_ids_);
    const Result<RequestId> id = model_->engine->submit(std::move(requests[prompt]), std::move(sink));
    if (!id) {
      cancel_all();
      return overload_error(id.error());
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

ApiError GenerationOperation::overload_error(const Error& error) const {
  if (error.code != ErrorCode::overloaded) return to_api_error(error);
  return overloaded(std::max<int64_t>(1, model_->engine->retry_after_seconds()));
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
    events_ = {};
  }
  drop_taken();
  cancel_all();
  place_.leave();
}

void GenerationOperation::pause() {
  std::lock_guard lock(mutex_);
  paused_ = true;
  park_if_full();
}

void GenerationOperation::resume() {
  std::lock_guard lock(mutex_);
  paused_ = false;
  if (!std::exchange(parked_, false)) return;
  for (const RequestId id : ids_) model_->engine->resume(id);
}

void GenerationOperation::park_if_full() {
  if (!paused_ || pending_bytes_ <= kParkBytes || std::exchange(parked_, true)) return;
  for (const RequestId id : ids_) model_->engine->park(id);
}

void GenerationOperation::add_event(Event event) {
  {
    std::lock_guard lock(mutex_);
    if (abandoned_) return;
    pending_bytes_ += event.bytes;
    events_.push_back(std::move(event));
    park_if_full();
    if (phase_ != Phase::running || std::exchange(wake_pending_, true)) return;
  }
  wake_();
}

void GenerationOperation::note(const Event& event, const RequestTimings& timings) {
  report_.num_cached_tokens += timings.num_cached_tokens;
  if (event.prompt != 0) return;
  report_.queued_ns = timings.queued_ns;
  report_.prefill_ns = timings.prefill_ns;
  report_.decode_ns = timings.decode_ns;
}

OperationReport GenerationOperation::report() const {
  OperationReport report = report_;
  report.model = model_->names.front();
  report.num_prompt_tokens = num_prompt_tokens_;
  report.num_generated_tokens = num_generated_tokens_;
  report.submitted_after_ns = submitted_after_ns_;
  return report;
}

void GenerationOperation::present(const Event& event, std::string& out) {
  if (const auto* news = std::get_if<SequenceNews>(&event.what)) {
    presenter_->update(event.prompt, *news, out);
  } else if (const auto* tokens = std::get_if<std::vector<ScoredToken>>(&event.what)) {
    presenter_->prompt_logprobs(event.prompt, *tokens, out);
  } else if (const auto* progress = std::get_if<PromptProgress>(&event.what)) {
    presenter_->progress(event.prompt, *progress, out);
  } else {
    const Done& done = std::get<Done>(event.what);
    presenter_->prompt_done(event.prompt, done.timings);
    note(event, done.timings);
    --num_running_;
    if (!done.status && !failure_) failure_ = to_api_error(done.status.error());
  }
}

bool GenerationOperation::too_late() const {
  return deadline_ && std::chrono::steady_clock::now() >= *deadline_;
}

Operation::Progress GenerationOperation::answer(const ApiError& error) {
  place_.leave();
  HttpResponse response = to_response(error);
  if (terms_.reshape_error) response = terms_.reshape_error(std::move(response));
  return {.answer = std::move(response), .finished = true};
}

void GenerationOperation::take_events() {
  pending_bytes_ -= std::exchange(presented_bytes_, 0);
  if (!taken_.empty()) return;
  taken_ = std::exchange(events_, {});
  wake_pending_ = false;
}

void GenerationOperation::present_some(std::string& out) {
  while (num_presented_ < taken_.size() && out.size() < kBurstBytes) {
    const Event event = std::move(taken_[num_presented_++]);
    presented_bytes_ += event.bytes;
    present(event, out);
  }
  if (num_presented_ == taken_.size()) drop_taken();
}

void GenerationOperation::drop_taken() {
  taken_ = {};
  num_presented_ = 0;
}

Operation::Progress GenerationOperation::poll() {
  bool late = too_late();
  {
    std::lock_guard lock(mutex_);
    if (phase_ == Phase::refused && refusal_) return answer(*refusal_);
    if (phase_ == Phase::preparing && !late) return {};
    late &= phase_ == Phase::preparing;
    take_events();
  }
  if (late) {
    context_.refusals.count(Refusal::deadline);
    abandon();
    return answer(deadline_exceeded());
  }
  if (!begun_) deadline_ = deadline_of(*presenter_);
  // The first bytes come with the first token: clients take them for it, and until then a stream can fail
  // with an honest status.
  if (!begun_ && taken_.empty() && num_running_ > 0 && !too_late()) return {};
  Progress progress;
  const bool first = !std::exchange(begun_, true);
  if (first) presenter_->begin(progress.bytes);
  present_some(progress.bytes);
  progress.more = !taken_.empty();
  if (!progress.more && num_running_ > 0 && !failure_ && too_late()) failure_ = deadline_exceeded();
  if (failure_) {
    abandon();
    if (first || !presenter_->streams()) return answer(*failure_);
    presenter_->fail(*failure_, progress.bytes);
  } else if (num_running_ == 0) {
    presenter_->end(progress.bytes);
  }
  progress.finished = failure_ || num_running_ == 0;
  if (progress.finished) place_.leave();
  if (first && presenter_->streams())
    progress.stream_head =
        HttpResponse{.content_type = "text/event-stream; charset=utf-8",
                     .headers = {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}}};
  if (progress.finished && !presenter_->streams())
    return {.answer = HttpResponse{.body = std::move(progress.bytes)}, .finished = true};
  return progress;
}

}  // namespace pagoda
