#include "server/openai/embedding_operation.h"

#include <algorithm>
#include <utility>

namespace pagoda {

class EmbeddingOperation::Sink final : public RequestSink {
 public:
  Sink(std::shared_ptr<EmbeddingOperation> operation, size_t index)
      : operation_(std::move(operation)), index_(index) {}

  void on_update(const SequenceUpdate&) override {}
  void on_prompt_logprobs(std::span<const TokenEvent>) override {}
  void on_embedding(std::span<const float> vector) override { vector_.assign(vector.begin(), vector.end()); }
  void on_done(const RequestTimings&, const Status& status) override {
    operation_->finish_one(index_, std::move(vector_), status);
  }

 private:
  const std::shared_ptr<EmbeddingOperation> operation_;
  const size_t index_;
  std::vector<float> vector_;
};

EmbeddingOperation::EmbeddingOperation(AppContext& context, std::shared_ptr<const ServedModel> model,
                                       RequestTerms terms, Prepare prepare)
    : model_(std::move(model)),
      context_(context),
      place_(terms.tenant),
      deadline_(terms.deadline ? terms.deadline : terms.patience),
      prepare_(std::move(prepare)) {}

void EmbeddingOperation::post(void (EmbeddingOperation::*task)()) {
  context_.workers.post([self = shared_from_this(), task] { (self.get()->*task)(); });
}

void EmbeddingOperation::start(std::function<void()> wake) {
  wake_ = std::move(wake);
  if (!place_.enter()) {
    context_.refusals.count(Refusal::key_concurrency);
    return refuse(too_many_concurrent(place_.tenant(), model_->engine->retry_after_seconds()));
  }
  post(&EmbeddingOperation::prepare);
}

void EmbeddingOperation::prepare() {
  {
    std::lock_guard lock(mutex_);
    if (stopped_) return;
  }
  ApiResult<EmbeddingJob> job = prepare_();
  prepare_ = nullptr;
  if (!job) return refuse(std::move(job).error());
  job_ = std::move(*job);
  int64_t num_prompt_tokens = 0;
  for (Request& request : job_.requests) {
    num_prompt_tokens += std::ssize(request.prompt);
    request.client ^= place_.tenant().client();
  }
  num_prompt_tokens_ = num_prompt_tokens;
  const Demand demand{.num_prompt_tokens = num_prompt_tokens,
                      .deadline = deadline_,
                      .queue_wait_seconds = model_->engine->forecast(num_prompt_tokens, 0).queue_seconds};
  if (std::optional<ApiError> error = check_terms(demand, place_.tenant(), context_.refusals))
    return refuse(std::move(*error));
  {
    std::lock_guard lock(mutex_);
    vectors_.resize(job_.requests.size());
    submitting_ = true;
  }
  submit_more();
}

// Runs on one worker at a time: `submitting_` says that it does or will.
void EmbeddingOperation::submit_more() {
  for (;;) {
    size_t index = 0;
    {
      std::lock_guard lock(mutex_);
      index = num_submitted_;
      // Not vectors_: present() may have taken them by now.
      const bool enough = index == job_.requests.size() || index - num_finished_ >= kMaxEmbeddingsInFlight;
      if (stopped_ || enough) {
        submitting_ = false;
        return;
      }
      ++num_submitted_;
    }
    const auto sink = std::make_shared<Sink>(shared_from_this(), index);
    const Result<RequestId> id = model_->engine->submit(job_.requests[index], sink);
    std::unique_lock lock(mutex_);
    if (id) {
      ids_.push_back(*id);
      if (!stopped_) continue;
      lock.unlock();
      return model_->engine->cancel(*id);
    }
    // With some on their way, the next one's end is soon enough to try again.
    const bool full = id.error().code == ErrorCode::overloaded;
    --num_submitted_;
    if (full && num_submitted_ > num_finished_) {
      submitting_ = false;
      return;
    }
    lock.unlock();
    return refuse_rest(index, id.error());
  }
}

void EmbeddingOperation::refuse_rest(size_t index, const Error& error) {
  int64_t num_tokens = 0;
  for (const Request& request : std::span(job_.requests).subspan(index))
    num_tokens += std::ssize(request.prompt);
  place_.tenant().give_back(num_tokens);
  refuse(error.code == ErrorCode::overloaded
             ? overloaded(std::max<int64_t>(1, model_->engine->retry_after_seconds()))
             : to_api_error(error, "input"));
}

void EmbeddingOperation::finish_one(size_t index, std::vector<float> vector, const Status& status) {
  if (!status) {
    // On a worker: this is the engine's thread, in the middle of a step.
    context_.workers.post(
        [self = shared_from_this(), error = to_api_error(status.error())] { self->refuse(error); });
    return;
  }
  std::lock_guard lock(mutex_);
  ++num_finished_;
  if (stopped_) return;
  vectors_[index] = std::move(vector);
  if (num_finished_ == job_.requests.size()) return post(&EmbeddingOperation::present);
  if (num_submitted_ < job_.requests.size() && !std::exchange(submitting_, true))
    post(&EmbeddingOperation::submit_more);
}

void EmbeddingOperation::present() {
  std::vector<std::vector<float>> vectors;
  {
    std::lock_guard lock(mutex_);
    if (stopped_) return;
    vectors.swap(vectors_);
  }
  HttpResponse answer = job_.present(std::move(vectors));
  {
    std::lock_guard lock(mutex_);
    answer_ = std::move(answer);
  }
  wake_();
}

void EmbeddingOperation::refuse(ApiError error) {
  {
    std::lock_guard lock(mutex_);
    if (std::exchange(stopped_, true)) return;
    answer_ = to_response(error);
  }
  cancel_all();
  wake_();
}

void EmbeddingOperation::cancel_all() {
  std::vector<RequestId> ids;
  {
    std::lock_guard lock(mutex_);
    ids = ids_;
  }
  for (const RequestId id : ids) model_->engine->cancel(id);
}

Operation::Progress EmbeddingOperation::poll() {
  if (deadline_ && std::chrono::steady_clock::now() >= *deadline_) {
    context_.refusals.count(Refusal::deadline);
    abandon();
    return {.answer = to_response(deadline_exceeded()), .finished = true};
  }
  std::lock_guard lock(mutex_);
  if (!answer_) return {};
  place_.leave();
  return {.answer = std::exchange(answer_, std::nullopt), .finished = true};
}

void EmbeddingOperation::abandon() {
  {
    std::lock_guard lock(mutex_);
    place_.leave();
    if (std::exchange(stopped_, true)) return;
  }
  cancel_all();
}

OperationReport EmbeddingOperation::report() const {
  return {.model = model_->names.front(), .num_prompt_tokens = num_prompt_tokens_};
}

}  // namespace pagoda
