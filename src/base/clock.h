// Time, injected so that scheduling and metrics can be tested without waiting.
#pragma once

#include <atomic>
#include <cstdint>

namespace pagoda {

class Clock {
 public:
  virtual ~Clock() = default;
  // Nanoseconds since an arbitrary start; never goes back. Callable from any thread.
  virtual int64_t now_ns() const = 0;
};

// The monotonic clock of the system.
class SteadyClock final : public Clock {
 public:
  int64_t now_ns() const override;
};

// Stands still until a test moves it.
class ManualClock final : public Clock {
 public:
  int64_t now_ns() const override { return now_.load(std::memory_order_relaxed); }
  void advance_ns(int64_t delta) { now_.fetch_add(delta, std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> now_{0};
};

}  // namespace pagoda
