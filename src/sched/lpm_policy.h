// Longest cached prefix first (SGLang's lpm), with ageing: what a prefix hit saves counts as having come
// earlier by kHeadStart times as long. So nobody waits longer than by first come, first served plus that, and
// the order changes only where hits do, not with time.
#pragma once

#include "sched/ordered_policy.h"

namespace pagoda {

struct LongerPrefix {
  static constexpr double kHeadStart = 20;
  static double virtual_arrival(const ScheduledSequence& sequence) {
    return static_cast<double>(sequence.arrival_ns) * 1e-9 - kHeadStart * sequence.saved_seconds;
  }
  bool operator()(const ScheduledSequence& a, const ScheduledSequence& b) const {
    const double arrival_a = virtual_arrival(a);
    const double arrival_b = virtual_arrival(b);
    return arrival_a != arrival_b ? arrival_a < arrival_b : a.id < b.id;
  }
};

class LpmPolicy final : public OrderedPolicy<LongerPrefix> {
 public:
  static constexpr std::string_view kName = "lpm";
  std::string_view name() const override { return kName; }
  bool orders_by_prefix() const override { return true; }
};

}  // namespace pagoda
