// Which requests are the longest of those that have lately come.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>

#include "sched/recent_values.h"

namespace pagoda {

// Of the last kMemory requests, those longer than all but kShare of them, unless even they are not far from
// what is usual: where all are about as long, none is long.
class LongestLately {
 public:
  static constexpr double kShare = 0.0075;
  static constexpr double kLeastOfMedian = 2;
  static constexpr size_t kMemory = 1024;
  static constexpr size_t kFirst = 64;  // before so many have come none is

  // A request that would take so long has come.
  void add(double seconds) {
    recent_.add(seconds);
    if (recent_.num_added() >= kFirst && recent_.num_added() % kEvery == 0) find_bound();
  }
  // Whether one that would take so long is among them.
  bool has(double seconds) const { return seconds > bound_; }

 private:
  static constexpr size_t kEvery = 16;

  void find_bound() {
    const auto last = static_cast<double>(recent_.size() - 1);
    const double longest = recent_.nth(static_cast<size_t>((1 - kShare) * last));
    const double median = recent_.nth(static_cast<size_t>(0.5 * last));
    bound_ = std::max(longest, kLeastOfMedian * median);
  }

  RecentValues<double, kMemory> recent_;
  double bound_ = std::numeric_limits<double>::infinity();
};

}  // namespace pagoda
