// A recording of steps, decided anew: the engine gets the same requests at the same times, its steps take the
// time that they took, and it must put the same tokens of the same sequences into each.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "cli/trace/step_recording.h"

namespace pagoda {

struct StepReplay {
  int64_t num_steps = 0;  // that were the same
  int64_t num_requests = 0;
  std::string difference;  // the first one, and in which step; empty: none
};

// Errors: a configuration that no engine takes.
Result<StepReplay> replay_steps(const StepRecording& recording);

}  // namespace pagoda
