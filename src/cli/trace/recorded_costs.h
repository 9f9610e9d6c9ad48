// What a recording says about the machine that made it: what steps cost there, and how fast it was at which
// time.
#pragma once

#include <array>
#include <cstddef>
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
// its processors and its bandwidth, for seconds or minutes and for single steps. The default is a machine
// that never changes.
class Pace {
 public:
  Pace() = default;
  // For two seconds each, the time that steps took by what `costs` predict for them; where none ran the
  // machine stays as it was. For ten seconds each, what single steps of like length took by that.
  static Pace of(const StepRecording& recording, const CostModel& costs);
  // Of the nth step of a run, one that begins so long after the first request came and takes so long by the
  // costs. Steps of like length take the unevenness of those recorded in turn: an engine leaves room for
  // what its predictions lack, and cuts prompts smaller the more they do. 1 where nothing is recorded.
  double factor(int64_t nth, int64_t since_first_request_ns, double predicted_seconds) const;

 private:
  static constexpr size_t kNumLengths = 8;
  static size_t length_of(double predicted_seconds);
  using Unevenness = std::array<std::vector<double>, kNumLengths>;  // 1 in the mean of each

  std::vector<double> factors_;         // of kWindowNs each
  std::vector<Unevenness> unevenness_;  // of kWindowsForUnevenness of them each
};

}  // namespace pagoda
