// Virtual time: a clock that stands still until it is moved, and meets what is due on its way.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/clock.h"

namespace pagoda {

// Everything happens on one thread.
class Timeline final : public Clock {
 public:
  // on_event(i) is called when the time is times[i], which ascend from 0 on.
  Timeline(std::vector<int64_t> times, std::function<void(size_t)> on_event)
      : times_(std::move(times)), on_event_(std::move(on_event)) {}

  int64_t now_ns() const override { return now_ns_; }
  // Events up to and at that time happen at theirs.
  void advance_to(int64_t time_ns) {
    while (has_event() && times_[next_] <= time_ns) {
      now_ns_ = times_[next_];
      on_event_(next_++);
    }
    now_ns_ = time_ns;
  }
  bool has_event() const { return next_ < times_.size(); }
  int64_t next_event_ns() const { return times_[next_]; }

 private:
  std::vector<int64_t> times_;
  std::function<void(size_t)> on_event_;
  size_t next_ = 0;
  int64_t now_ns_ = 0;
};

}  // namespace pagoda
