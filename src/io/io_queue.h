// Many reads and writes under way at once, from one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>

#include "base/result.h"
#include "io/file_system.h"

namespace pagoda {

struct IoRequest {
  enum class Kind { read, write, sync };
  Kind kind = Kind::read;
  File* file = nullptr;
  uint64_t offset = 0;
  std::span<std::byte> bytes;  // filled, or written from; stays until the request has ended
  uint64_t tag = 0;
};

// All bytes of the request were transferred, or there is an error.
struct IoResult {
  uint64_t tag = 0;
  Status status;
};

// Moves up to results.size() of what has ended there; how many.
size_t take_results(std::deque<IoResult>& ended, std::span<IoResult> results);

// One thread submits and waits; wake() is for the others. Ends only when nothing is under way.
class IoQueue {
 public:
  virtual ~IoQueue() = default;
  // Requests under way may run in any order.
  virtual void submit(const IoRequest& request) = 0;
  // Waits until a request has ended or wake() was called since the last return; gives up to results.size()
  // results.
  virtual size_t wait(std::span<IoResult> results) = 0;
  virtual void wake() = 0;
};

// Threads that make plain calls, for any File.
std::unique_ptr<IoQueue> make_thread_io_queue(int num_threads);

// io_uring, for files with a descriptor. `unsupported` where the kernel has none, or none for this process.
Result<std::unique_ptr<IoQueue>> make_uring_io_queue(unsigned depth);

}  // namespace pagoda
