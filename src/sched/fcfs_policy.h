// First come, first served.
#pragma once

#include "sched/ordered_policy.h"

namespace pagoda {

struct ArrivedBefore {
  bool operator()(const ScheduledSequence& a, const ScheduledSequence& b) const { return a.id < b.id; }
};

class FcfsPolicy final : public OrderedPolicy<ArrivedBefore> {
 public:
  static constexpr std::string_view kName = "fcfs";
  std::string_view name() const override { return kName; }
};

}  // namespace pagoda
