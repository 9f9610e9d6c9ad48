// Shortest remaining processing time, taking max_tokens for the length of the output. Where clients ask for
// exactly as many tokens as they get, as a replayed trace does, it knows what no other policy knows, and
// shows how far others are from the best mean.
#pragma once

#include "sched/ordered_policy.h"

namespace pagoda {

struct LessRemaining {
  static double remaining(const ScheduledSequence& sequence) {
    return sequence.prefill_seconds +
           sequence.token_seconds * static_cast<double>(sequence.max_generated - sequence.num_generated);
  }
  bool operator()(const ScheduledSequence& a, const ScheduledSequence& b) const {
    const double remaining_a = remaining(a);
    const double remaining_b = remaining(b);
    return remaining_a != remaining_b ? remaining_a < remaining_b : a.id < b.id;
  }
};

class SrptPolicy final : public OrderedPolicy<LessRemaining> {
 public:
  static constexpr std::string_view kName = "srpt";
  std::string_view name() const override { return kName; }
  bool preempts(const ScheduledSequence& waiting, const ScheduledSequence& running, Pages) const override {
    return LessRemaining::remaining(waiting) < LessRemaining::remaining(running);
  }
};

}  // namespace pagoda
