// One generating API request on its way: prepared on a worker thread, submitted to the engine, its news
// collected for the I/O thread and presented there. What waits for a client that does not read is bounded:
// beyond kMaxPendingBytes the request is cancelled.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <variant>
#include <vector>

#include "server/http/handler.h"
#include "server/openai/presenter.h"
#include "server/served_model.h"
#include "server/worker_pool.h"

namespace pagoda {

inline constexpr size_t kMaxPendingBytes = 1u << 20;

// What an endpoint makes of a request's body: one engine request per prompt, and the form of the answer.
enum class TokenIds { drop, keep };  // in SequenceNews

struct Generation {
  std::vector<Request> requests;
  std::unique_ptr<Presenter> presenter;
  TokenIds token_ids = TokenIds::drop;
};

class GenerationOperation final : public Operation, public std::enable_shared_from_this<GenerationOperation> {
 public:
  using Prepare = std::function<ApiResult<Generation>()>;
  // `prepare` runs on a thread of `workers`, which must outlive the operation.
  GenerationOperation(std::shared_ptr<const ServedModel> model, WorkerPool& workers, Prepare prepare);

  void start(std::function<void()> wake) override;
  Progress poll() override;
  void abandon() override;

 private:
  class Sink;
  struct Done {
    RequestTimings timings;
    Status status;
  };
  struct Event {
    size_t prompt = 0;
    std::variant<SequenceNews, std::vector<ScoredToken>, Done> what;
  };
  enum class Phase { preparing, refused, running };

  // ---- worker threads ----
  void prepare();
  // Submits all or, on the first refusal, none.
  std::optional<ApiError> submit_all(std::vector<Request> requests);
  void refuse(ApiError error);
  void cancel_all();

  // ---- the engine thread ----
  void add_event(Event event, size_t bytes);

  // ---- the I/O thread ----
  void present(Event& event, std::string& out);

  const std::shared_ptr<const ServedModel> model_;
  WorkerPool& workers_;
  Prepare prepare_;
  std::function<void()> wake_;

  std::mutex mutex_;  // guards what follows
  Phase phase_ = Phase::preparing;
  std::optional<ApiError> refusal_;
  std::vector<Event> events_;
  size_t pending_bytes_ = 0;
  bool overflowed_ = false;
  bool abandoned_ = false;
  bool wake_pending_ = false;
  std::vector<RequestId> ids_;

  // Of the I/O thread from phase `running` on.
  std::unique_ptr<Presenter> presenter_;
  size_t num_running_ = 0;  // prompts
  TokenIds token_ids_ = TokenIds::drop;
  bool begun_ = false;
  std::optional<ApiError> failure_;
};

}  // namespace pagoda
