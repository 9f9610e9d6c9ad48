#include "cli/completion.h"

#include <memory>
#include <utility>

namespace pagoda {

namespace {

class CompletionSink final : public RequestSink {
 public:
  explicit CompletionSink(const std::function<void(std::string_view)>& on_text) : on_text_(on_text) {}

  void on_update(const SequenceUpdate& update) override {
    for (const TokenEvent& event : update.tokens) completion_.ids.push_back(event.token);
    completion_.text += update.text;
    if (!update.text.empty()) on_text_(update.text);
    if (update.finish) completion_.finish = *update.finish;
  }
  void on_prompt_logprobs(std::span<const TokenEvent>) override {}
  void on_done(const RequestTimings& timings, const Status& status) override {
    completion_.timings = timings;
    status_ = status;
    done_ = true;
  }

  bool done() const { return done_; }
  Result<Completion> take() {
    const bool cancelled = !status_ && status_.error().code == ErrorCode::cancelled;
    if (!status_ && !cancelled) return std::unexpected(status_.error());
    if (cancelled) completion_.finish = FinishReason::cancelled;
    return std::move(completion_);
  }

 private:
  const std::function<void(std::string_view)>& on_text_;
  Completion completion_;
  Status status_;
  bool done_ = false;
};

}  // namespace

Result<Completion> complete(Engine& engine, Request request,
                            const std::function<void(std::string_view)>& on_text,
                            const std::atomic<bool>& interrupt) {
  const auto sink = std::make_shared<CompletionSink>(on_text);
  PAGODA_TRY(const RequestId id, engine.submit(std::move(request), sink));
  bool cancelled = false;
  while (!sink->done()) {
    if (!cancelled && interrupt.load(std::memory_order_relaxed)) {
      engine.cancel(id);
      cancelled = true;
    }
    engine.step();
  }
  return sink->take();
}

std::string_view to_string(FinishReason reason) {
  switch (reason) {
    case FinishReason::stop:
      return "stop";
    case FinishReason::length:
      return "length";
    case FinishReason::cancelled:
      return "cancelled";
    case FinishReason::error:
      return "error";
  }
  return "error";
}

void apply(const SamplingArguments& arguments, SamplingParams& params) {
  if (arguments.temperature) params.temperature = *arguments.temperature;
  if (arguments.top_k) params.top_k = *arguments.top_k;
  if (arguments.top_p) params.top_p = *arguments.top_p;
  if (arguments.min_p) params.min_p = *arguments.min_p;
  if (arguments.repetition_penalty) params.repetition_penalty = *arguments.repetition_penalty;
  if (arguments.seed) params.seed = arguments.seed;
}

}  // namespace pagoda
