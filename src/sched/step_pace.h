// How long the time that a cost model predicts takes to pass.
#pragma once

#include <algorithm>
#include <cmath>

namespace pagoda {

// A model that is fitted to relative errors, outliers weighed down, tells how long a step usually takes. A
// wait is a sum of steps, and of what lies between them: it grows with their mean, which is larger, the more
// so the more others disturb the machine. What passed counts e times less after kMemory predicted seconds.
class StepPace {
 public:
  static constexpr double kMemory = 10;
  static constexpr double kMost = 4;  // a standstill is no pace

  // A step, with what lay between it and the one before if that one had left something to do.
  // Where a clock stood still nothing is learnt.
  void add(double predicted_seconds, double passed_seconds) {
    if (passed_seconds <= 0) return;
    const double kept = std::exp(-predicted_seconds / kMemory);
    predicted_ = kept * predicted_ + predicted_seconds;
    passed_ = kept * passed_ + passed_seconds;
  }
  // Seconds that pass while one of predicted work is done; 1 before any step.
  double seconds() const { return std::clamp(passed_ / predicted_, 1 / kMost, kMost); }

 private:
  // Before any step, as if one second had taken as long as predicted.
  double predicted_ = 1;
  double passed_ = 1;
};

}  // namespace pagoda
