#include "server/worker_operation.h"

#include <mutex>
#include <utility>

namespace pagoda {
namespace {

class WorkerOperation final : public Operation, public std::enable_shared_from_this<WorkerOperation> {
 public:
  WorkerOperation(WorkerPool& workers, std::function<HttpResponse()> compute)
      : workers_(workers), compute_(std::move(compute)) {}

  void start(std::function<void()> wake) override {
    wake_ = std::move(wake);
    workers_.post([self = shared_from_this()] { self->run(); });
  }

  Progress poll() override {
    std::lock_guard lock(mutex_);
    if (!answer_) return {};
    return {.answer = std::exchange(answer_, std::nullopt), .finished = true};
  }

  void abandon() override {
    std::lock_guard lock(mutex_);
    abandoned_ = true;
  }

 private:
  void run() {
    {
      std::lock_guard lock(mutex_);
      if (abandoned_) return;
    }
    HttpResponse answer = compute_();
    {
      std::lock_guard lock(mutex_);
      answer_ = std::move(answer);
    }
    wake_();
  }

  WorkerPool& workers_;
  const std::function<HttpResponse()> compute_;
  std::function<void()> wake_;

  std::mutex mutex_;  // guards what follows
  std::optional<HttpResponse> answer_;
  bool abandoned_ = false;
};

}  // namespace

Answer answer_on_worker(WorkerPool& workers, std::function<HttpResponse()> compute) {
  std::shared_ptr<Operation> operation = std::make_shared<WorkerOperation>(workers, std::move(compute));
  return operation;
}

}  // namespace pagoda
