#include "base/divided_work.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <sys/resource.h>

#include "base/cores.h"

namespace pagoda {

namespace {

constexpr int kNiceness = 10;

// What the threads share.
class Parts {
 public:
  using Body = std::function<Status(size_t part, int worker)>;
  Parts(size_t num_parts, const Body& body) : num_parts_(num_parts), body_(body) {}

  void work(int worker) {
    for (size_t part = next_++; part < num_parts_; part = next_++) {
      if (Status status = body_(part, worker); !status) fail(std::move(status));
      ++num_done_;
      num_done_.notify_one();
    }
  }
  void wait(const WorkProgress& progress) const {
    for (size_t done = 0; done < num_parts_; done = num_done_) {
      if (progress.report != nullptr)
        progress.report(progress.context, static_cast<double>(done) / static_cast<double>(num_parts_));
      num_done_.wait(done);
    }
  }
  // When all threads have ended.
  Status take_status() { return std::move(first_); }

 private:
  void fail(Status status) {
    next_ = num_parts_;
    num_done_ = num_parts_;
    const std::lock_guard lock(mutex_);
    if (first_) first_ = std::move(status);
  }

  const size_t num_parts_;
  const Body& body_;
  std::atomic<size_t> next_{0};
  std::atomic<size_t> num_done_{0};
  std::mutex mutex_;
  Status first_;  // guarded by mutex_
};

}  // namespace

Status divide_work(size_t num_parts, int num_threads, const WorkProgress& progress,
                   const std::function<Status(size_t part, int worker)>& body) {
  const std::vector<int> cores = usable_cores();
  const auto num_workers = std::min(static_cast<size_t>(std::max(num_threads, 1)), num_parts);
  Parts parts(num_parts, body);
  {
    std::vector<std::jthread> threads;
    for (size_t worker = 0; worker < num_workers; ++worker) {
      threads.emplace_back([&parts, worker] {
        setpriority(PRIO_PROCESS, 0, kNiceness);
        parts.work(static_cast<int>(worker));
      });
      if (num_workers == cores.size()) bind_thread(threads.back().native_handle(), cores[worker]);
    }
    parts.wait(progress);
  }
  Status status = parts.take_status();
  if (status && progress.report != nullptr) progress.report(progress.context, 1.0);
  return status;
}

}  // namespace pagoda
