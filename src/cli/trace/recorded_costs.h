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
// telling clients, waiting for a processor. First as they were, then at an even pace by that fit, twice: else
// what steps hold takes the blame for when they ran. (Many times more, and the pace takes it for what all
// steps hold.) The predictions add up to the time that was recorded, which those of a model fitted by
// relative errors alone do not, since errors are skewed.
CostModel fit_costs(const StepRecording& recording);

// How much longer than predicted steps took from moment to moment: other programs of a shared machine take
// its processors and its bandwidth, for seconds or minutes and for single steps. The default is a machine
// that never changes.
class Pace {
 public:
  Pace() = default;
  // For two seconds each, the time that steps took by what `costs` predict for them; where none ran the
  // machine stays as it was.
  static Pace of(const StepRecording& recording, const CostModel& costs);

  struct StepTime {
    double seconds = 0;          // of the step
    double between_seconds = 0;  // and then until the next one begins, if there is more to do
  };
  // Of the nth step of a run, one that begins so long after the first request came and takes so long by the
  // costs. Steps are as uneven as those of like length that were recorded then, in turn: an engine leaves
  // room for what its predictions lack, and cuts prompts the smaller the more that is. As predicted where
  // nothing is recorded.
  StepTime time_of(int64_t nth, int64_t since_first_request_ns, double predicted_seconds) const;

 private:
  static constexpr size_t kNumLengths = 8;
  static size_t length_of(double predicted_seconds);
  struct Unevenness {
    double factor = 1;         // 1 in the mean of each length
    double between_share = 0;  // of the time, after the step
  };
  struct Window {
    double factor = 1;
    std::array<std::vector<Unevenness>, kNumLengths> steps;  // by their predicted length
  };

  std::vector<Window> windows_;
};

}  // namespace pagoda
