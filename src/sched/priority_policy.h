// By the priority that clients give, then first come, first served. A sequence takes the place of one whose
// priority is lower.
#pragma once

#include <tuple>

#include "sched/ordered_policy.h"

namespace pagoda {

struct MoreUrgent {
  bool operator()(const ScheduledSequence& a, const ScheduledSequence& b) const {
    return std::tie(a.priority, a.id) < std::tie(b.priority, b.id);
  }
};

class PriorityPolicy final : public OrderedPolicy<MoreUrgent> {
 public:
  static constexpr std::string_view kName = "priority";
  std::string_view name() const override { return kName; }
  bool preempts(const ScheduledSequence& waiting, const ScheduledSequence& running, Pages) const override {
    return waiting.priority < running.priority;
  }
};

}  // namespace pagoda
