// How much work comes, by class of urgency.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "sched/forecast.h"

namespace pagoda {

// The work of requests by the time that it comes in: what comes counts e times less after kMemory seconds.
class ArrivingWork {
 public:
  static constexpr double kMemory = 120;

  // A request of that class that needs so many seconds.
  void add(int32_t request_class, double seconds, int64_t now_ns) {
    shares_ = shares(now_ns);
    last_ns_ = std::max(last_ns_, now_ns);
    shares_[static_cast<size_t>(request_class)] += seconds / kMemory;
  }
  // Of all time, that it needs.
  ByClass shares(int64_t now_ns) const {
    const double passed = 1e-9 * static_cast<double>(std::max<int64_t>(now_ns - last_ns_, 0));
    const double kept = std::exp(-passed / kMemory);
    ByClass shares = shares_;
    for (double& share : shares) share *= kept;
    return shares;
  }

 private:
  ByClass shares_{};
  int64_t last_ns_ = 0;
};

}  // namespace pagoda
