// First come, first served.
#pragma once

#include "sched/scheduler_policy.h"

namespace pagoda {

class FcfsPolicy final : public SchedulerPolicy {
 public:
  static constexpr std::string_view kName = "fcfs";

  std::string_view name() const override { return kName; }
  void on_arrival(const ScheduledSequence&, int64_t) override {}
  // All alike: ties go by id, which ascends in order of arrival.
  double rank(const ScheduledSequence&, int64_t) const override { return 0.0; }
  void on_progress(const ScheduledSequence&, int64_t, int64_t) override {}
  void on_finish(SequenceId) override {}
};

}  // namespace pagoda
