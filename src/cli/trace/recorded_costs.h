// What a recording says about the machine that made it: what steps cost there, and how fast it was at which
// time.
#pragma once

#include <cstdint>
#include <vector>

#include "cli/trace/step_recording.h"
#include "sched/cost_model.h"

namespace pagoda {

// Fitted to all steps of a recording, each with what passed until the next one began if there was more to do:
// telling clients, waiting for a processor. The predictions add up to the time that was recorded, which
// those of a model fitted by relative errors alone do not, since errors are skewed.
CostModel fit_costs(const StepRecording& recording);

// How much longer than predicted steps took from moment to moment: other programs of a shared machine take
// its processors and its bandwidth for seconds or minutes. The default is a machine that never changes.
class Pace {
 public:
  Pace() = default;
  // For two seconds each, the time that steps took by what `costs` predict for them. Where none ran the
  // machine stays as it was.
  static Pace of(const StepRecording& recording, const CostModel& costs);
  // Of a step that begins so long after the first request came. 1 where nothing is recorded.
  double factor(int64_t since_first_request_ns) const;

 private:
  std::vector<double> factors_;
};

}  // namespace pagoda
