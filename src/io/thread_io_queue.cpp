#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <pthread.h>

#include "io/io_queue.h"

namespace pagoda {

namespace {

Status transfer_all(const IoRequest& request) {
  File& file = *request.file;
  std::span<std::byte> rest = request.bytes;
  uint64_t offset = request.offset;
  while (!rest.empty()) {
    PAGODA_TRY(const size_t count, request.kind == IoRequest::Kind::read ? file.read_at(offset, rest)
                                                                         : file.write_at(offset, rest));
    if (count == 0) return fail(ErrorCode::io, "{}: is cut short", file.path());
    rest = rest.subspan(count);
    offset += count;
  }
  return {};
}

class ThreadIoQueue final : public IoQueue {
 public:
  explicit ThreadIoQueue(int num_threads) {
    for (int i = 0; i < num_threads; ++i)
      threads_.emplace_back([this](const std::stop_token& stop) { run(stop); });
  }
  ~ThreadIoQueue() override {
    for (std::jthread& thread : threads_) thread.request_stop();
  }

  void submit(const IoRequest& request) override {
    {
      const std::lock_guard lock(mutex_);
      waiting_.push_back(request);
    }
    has_work_.notify_one();
  }

  size_t wait(std::span<IoResult> results) override {
    std::unique_lock lock(mutex_);
    has_result_.wait(lock, [this] { return woken_ || !ended_.empty(); });
    woken_ = false;
    return take_results(ended_, results);
  }

  void wake() override {
    {
      const std::lock_guard lock(mutex_);
      woken_ = true;
    }
    has_result_.notify_one();
  }

 private:
  void run(const std::stop_token& stop) {
    pthread_setname_np(pthread_self(), "pagoda-disk");
    std::unique_lock lock(mutex_);
    while (has_work_.wait(lock, stop, [this] { return !waiting_.empty(); })) {
      const IoRequest request = waiting_.front();
      waiting_.pop_front();
      lock.unlock();
      Status status = request.kind == IoRequest::Kind::sync ? request.file->sync() : transfer_all(request);
      lock.lock();
      ended_.push_back({request.tag, std::move(status)});
      has_result_.notify_one();
    }
  }

  std::mutex mutex_;
  std::condition_variable_any has_work_;
  std::condition_variable has_result_;
  std::deque<IoRequest> waiting_;  // the three guarded by mutex_
  std::deque<IoResult> ended_;
  bool woken_ = false;
  std::vector<std::jthread> threads_;  // last: they end before the rest does
};

}  // namespace

std::unique_ptr<IoQueue> make_thread_io_queue(int num_threads) {
  return std::make_unique<ThreadIoQueue>(num_threads);
}

}  // namespace pagoda
