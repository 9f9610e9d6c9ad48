#include <cerrno>
#include <cstring>
#include <deque>
#include <utility>
#include <vector>

#include <liburing.h>
#include <sys/eventfd.h>

#include "base/check.h"
#include "io/descriptor.h"
#include "io/io_queue.h"

namespace pagoda {

namespace {

// What the kernel gives back for the read of the event that wakes; requests have the index of their entry.
constexpr uint64_t kWakeUp = ~uint64_t{0};

class UringIoQueue final : public IoQueue {
 public:
  // Null and errno where the kernel refuses.
  static std::unique_ptr<UringIoQueue> create(unsigned depth) {
    Descriptor event(eventfd(0, EFD_CLOEXEC));
    if (!event.is_open()) return nullptr;
    std::unique_ptr<UringIoQueue> queue(new UringIoQueue(std::move(event)));
    const int error = io_uring_queue_init(depth + 1, &queue->ring_, 0);
    if (error < 0) {
      errno = -error;
      return nullptr;
    }
    queue->is_open_ = true;
    if (!queue->can_all()) {
      errno = ENOSYS;
      return nullptr;
    }
    queue->await_wake_up();
    return queue;
  }

  ~UringIoQueue() override {
    if (is_open_) io_uring_queue_exit(&ring_);
  }

  void submit(const IoRequest& request) override {
    size_t index = entries_.size();
    if (free_.empty()) {
      entries_.emplace_back();
    } else {
      index = free_.back();
      free_.pop_back();
    }
    entries_[index] = {request, 0};
    push(index);
  }

  size_t wait(std::span<IoResult> results) override {
    bool woken = false;
    do {
      // What has been submitted starts now, also when there are results enough.
      const int count = io_uring_submit_and_wait(&ring_, ended_.empty() ? 1 : 0);
      PAGODA_CHECK(count >= 0 || count == -EINTR || count == -EAGAIN || count == -EBUSY, "{}",
                   std::strerror(-count));
      woken = reap();
    } while (!woken && ended_.empty());
    return take_results(ended_, results);
  }

  void wake() override {
    const uint64_t one = 1;
    // Fails only where so many wake-ups have not been seen yet that one more changes nothing.
    [[maybe_unused]] const ssize_t written = write(event_.fd(), &one, sizeof one);
  }

 private:
  struct Entry {
    IoRequest request;
    size_t done = 0;  // bytes
  };

  explicit UringIoQueue(Descriptor event) : event_(std::move(event)) {}

  bool can_all() {
    io_uring_probe* probe = io_uring_get_probe_ring(&ring_);
    if (probe == nullptr) return false;
    bool all = true;
    for (const int operation : {IORING_OP_READ, IORING_OP_WRITE, IORING_OP_FSYNC})
      all = all && io_uring_opcode_supported(probe, operation) != 0;
    io_uring_free_probe(probe);
    return all;
  }

  // Takes what has ended; whether one of it was a wake-up.
  bool reap() {
    bool woken = false;
    io_uring_cqe* completion = nullptr;
    while (io_uring_peek_cqe(&ring_, &completion) == 0) {
      const uint64_t entry = completion->user_data;
      const int result = completion->res;
      io_uring_cqe_seen(&ring_, completion);
      if (entry == kWakeUp) {
        woken = true;
        await_wake_up();
      } else {
        handle(entry, result);
      }
    }
    return woken;
  }

  io_uring_sqe* next_submission() {
    io_uring_sqe* submission = io_uring_get_sqe(&ring_);
    if (submission == nullptr) {
      io_uring_submit(&ring_);
      submission = io_uring_get_sqe(&ring_);
    }
    PAGODA_CHECK(submission != nullptr, "more requests than the ring is deep");
    return submission;
  }

  void await_wake_up() {
    io_uring_sqe* submission = next_submission();
    io_uring_prep_read(submission, event_.fd(), &event_count_, sizeof event_count_, 0);
    submission->user_data = kWakeUp;
  }

  // Tells the kernel of what is left of an entry.
  void push(size_t index) {
    const auto& [request, done] = entries_[index];
    io_uring_sqe* submission = next_submission();
    const std::span<std::byte> rest = request.bytes.subspan(done);
    const auto length = static_cast<unsigned>(rest.size());
    const int fd = request.file->descriptor();
    switch (request.kind) {
      case IoRequest::Kind::read:
        io_uring_prep_read(submission, fd, rest.data(), length, request.offset + done);
        break;
      case IoRequest::Kind::write:
        io_uring_prep_write(submission, fd, rest.data(), length, request.offset + done);
        break;
      case IoRequest::Kind::sync:
        io_uring_prep_fsync(submission, fd, IORING_FSYNC_DATASYNC);
        break;
    }
    submission->user_data = index;
  }

  void handle(uint64_t index, int result) {
    Entry& entry = entries_[index];
    const IoRequest& request = entry.request;
    if (result == -EINTR || result == -EAGAIN) return push(index);
    Status status;
    if (result < 0) {
      status = fail(ErrorCode::io, "{}: cannot be {}: {}", request.file->path(),
                    request.kind == IoRequest::Kind::read ? "read" : "written", std::strerror(-result));
    } else if (request.kind != IoRequest::Kind::sync) {
      entry.done += static_cast<size_t>(result);
      if (result > 0 && entry.done < request.bytes.size()) return push(index);
      if (entry.done < request.bytes.size())
        status = fail(ErrorCode::io, "{}: is cut short", request.file->path());
    }
    ended_.push_back({request.tag, std::move(status)});
    free_.push_back(index);
  }

  io_uring ring_{};
  bool is_open_ = false;
  Descriptor event_;
  uint64_t event_count_ = 0;
  std::vector<Entry> entries_;
  std::vector<size_t> free_;
  std::deque<IoResult> ended_;
};

}  // namespace

Result<std::unique_ptr<IoQueue>> make_uring_io_queue(unsigned depth) {
  std::unique_ptr<IoQueue> queue = UringIoQueue::create(depth);
  if (queue == nullptr)
    return fail(ErrorCode::unsupported, "io_uring cannot be used: {}", std::strerror(errno));
  return queue;
}

}  // namespace pagoda
