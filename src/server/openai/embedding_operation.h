// Many prompts on their way to vectors. A few at a time are with the engine, so that one request of thousands
// neither fills the queue nor is refused for its size.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "server/admission.h"
#include "server/app_context.h"
#include "server/http/handler.h"
#include "server/openai/api_error.h"
#include "server/served_model.h"

namespace pagoda {

inline constexpr size_t kMaxEmbeddingsInFlight = 32;

// What the endpoint makes of a request's body, and of the vectors once they are there (in the order of the
// requests).
struct EmbeddingJob {
  std::vector<Request> requests;
  std::function<HttpResponse(std::vector<std::vector<float>> vectors)> present;
};

class EmbeddingOperation final : public Operation, public std::enable_shared_from_this<EmbeddingOperation> {
 public:
  using Prepare = std::function<ApiResult<EmbeddingJob>()>;
  // `prepare` and EmbeddingJob::present run on threads of the context's workers; the context must outlive the
  // operation.
  EmbeddingOperation(AppContext& context, std::shared_ptr<const ServedModel> model, RequestTerms terms,
                     Prepare prepare);

  void start(std::function<void()> wake) override;
  Progress poll() override;
  std::optional<Deadline> wake_at() const override { return deadline_; }
  void abandon() override;
  OperationReport report() const override;

 private:
  class Sink;

  // ---- worker threads ----
  void prepare();
  void submit_more();
  // Refuses what the engine did not take, and gives the tenant back the tokens of the prompts from `index`
  // on.
  void refuse_rest(size_t index, const Error& error);
  void present();

  void post(void (EmbeddingOperation::*task)());
  // The engine is done with one prompt. The engine's thread.
  void finish_one(size_t index, std::vector<float> vector, const Status& status);
  void refuse(ApiError error);
  void cancel_all();

  const std::shared_ptr<const ServedModel> model_;
  AppContext& context_;
  TenantPlace place_;
  const std::optional<Deadline> deadline_;
  Prepare prepare_;
  std::function<void()> wake_;
  EmbeddingJob job_;  // of one worker at a time
  std::atomic<int64_t> num_prompt_tokens_{0};

  std::mutex mutex_;  // guards what follows
  std::vector<std::vector<float>> vectors_;
  std::vector<RequestId> ids_;
  size_t num_submitted_ = 0;
  size_t num_finished_ = 0;
  bool submitting_ = false;
  bool stopped_ = false;  // abandoned or refused
  std::optional<HttpResponse> answer_;
};

}  // namespace pagoda
