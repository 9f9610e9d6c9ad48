// Which requests are the longest of those that have lately come.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>

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
    recent_[num_added_++ % kMemory] = seconds;
    if (num_added_ >= kFirst && num_added_ % kEvery == 0) find_bound();
  }
  // Whether one that would take so long is among them.
  bool has(double seconds) const { return seconds > bound_; }

 private:
  static constexpr size_t kEvery = 16;

  void find_bound() {
    std::array<double, kMemory> sorted = recent_;
    auto* const end = sorted.begin() + std::min(num_added_, kMemory);
    const auto last = static_cast<double>(end - sorted.begin() - 1);
    auto* const bound = sorted.begin() + static_cast<ptrdiff_t>((1 - kShare) * last);
    auto* const median = sorted.begin() + static_cast<ptrdiff_t>(0.5 * last);
    std::nth_element(sorted.begin(), bound, end);
    std::nth_element(sorted.begin(), median, bound);
    bound_ = std::max(*bound, kLeastOfMedian * *median);
  }

  std::array<double, kMemory> recent_{};
  size_t num_added_ = 0;
  double bound_ = std::numeric_limits<double>::infinity();
};

}  // namespace pagoda
