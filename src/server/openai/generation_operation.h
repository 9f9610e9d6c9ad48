// One generating API request on its way: prepared on a worker thread, submitted to the engine, its news
// collected for the I/O thread and presented there. What waits for a client that does not read is bounded:
// beyond kParkBytes its sequences are parked until it reads again, or is taken as gone.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <variant>
#include <vector>

#include "server/admission.h"
#include "server/app_context.h"
#include "server/http/handler.h"
#include "server/openai/presenter.h"
#include "server/served_model.h"

namespace pagoda {

inline constexpr size_t kParkBytes = 4u << 10;
// A stream's bytes that are made before they are written: what waits is news, which take less than their
// text.
inline constexpr size_t kBurstBytes = 8u << 10;

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
  // `prepare` runs on a thread of the context's workers; the context must outlive the operation.
  GenerationOperation(AppContext& context, std::shared_ptr<const ServedModel> model, RequestTerms terms,
                      Prepare prepare);

  void start(std::function<void()> wake) override;
  Progress poll() override;
  std::optional<Deadline> wake_at() const override { return deadline_; }
  void pause() override;
  void resume() override;
  void abandon() override;
  OperationReport report() const override;

 private:
  class Sink;
  struct Done {
    RequestTimings timings;
    Status status;
  };
  struct Event {
    uint32_t prompt = 0;
    uint32_t bytes = 0;  // with what it points to
    std::variant<SequenceNews, std::vector<ScoredToken>, PromptProgress, Done> what;
  };
  enum class Phase { preparing, refused, running };

  // ---- worker threads ----
  void prepare();
  std::optional<Deadline> deadline_of(const Presenter& presenter) const;
  // Submits all or, on the first refusal, none.
  std::optional<ApiError> submit_all(std::vector<Request> requests);
  void refuse(ApiError error);
  void cancel_all();
  ApiError overload_error(const Error& error) const;

  // ---- the engine thread ----
  void add_event(Event event);

  // ---- any thread, mutex_ held ----
  void park_if_full();

  // ---- the I/O thread ----
  bool too_late() const;
  void take_events();  // mutex_ held
  // Until a burst is full.
  void present_some(std::string& out);
  void drop_taken();
  Progress answer(const ApiError& error);
  void present(const Event& event, std::string& out);
  void note(const Event& event, const RequestTimings& timings);

  const std::shared_ptr<const ServedModel> model_;
  AppContext& context_;
  const RequestTerms terms_;
  TenantPlace place_;
  Prepare prepare_;
  std::function<void()> wake_;

  std::atomic<int64_t> num_prompt_tokens_{0};
  std::atomic<int64_t> num_generated_tokens_{0};
  std::atomic<int64_t> submitted_after_ns_{0};
  std::chrono::steady_clock::time_point start_;

  std::mutex mutex_;  // guards what follows
  Phase phase_ = Phase::preparing;
  std::optional<ApiError> refusal_;
  std::vector<Event> events_;
  size_t pending_bytes_ = 0;  // of what is not presented
  bool paused_ = false;       // the client takes nothing
  bool parked_ = false;       // so the engine waits
  bool abandoned_ = false;
  bool wake_pending_ = false;
  std::vector<RequestId> ids_;

  // Of the I/O thread from phase `running` on.
  std::optional<Deadline> deadline_;  // before: what the headers say, for any kind of answer
  std::unique_ptr<Presenter> presenter_;
  std::vector<Event> taken_;  // to be presented from num_presented_ on
  size_t num_presented_ = 0;
  size_t presented_bytes_ = 0;  // not yet taken off pending_bytes_
  size_t num_running_ = 0;      // prompts
  TokenIds token_ids_ = TokenIds::drop;
  bool begun_ = false;
  std::optional<ApiError> failure_;
  OperationReport report_;  // timings, where they came
};

}  // namespace pagoda
