// How long a request that comes now will wait, from the work that is queued. Plain numbers.
#pragma once

#include <array>
#include <cstdint>

namespace pagoda {

// Classes of urgency that a policy tells apart: those of a smaller number go first whenever they came.
inline constexpr int32_t kNumClasses = 32;
using ByClass = std::array<double, kNumClasses>;

// What an engine still has to do, in seconds that a cost model predicts. The shares of sequences in a step
// add up to its time, so that work in seconds is done at the rate of a second in a second, however it is
// batched.
struct QueuedWork {
  ByClass waiting_seconds{};     // all that those that wait still need
  ByClass prompt_seconds{};      // prompts of those that run
  ByClass arriving_share{};      // of all time, that the requests which come lately need
  double place_seconds = 0;      // until one of those that run will end; 0 while there is a free place
  int32_t num_place_takers = 0;  // so many of the first classes need not wait for that
  double decode_seconds = 0;     // of each step, for those that generate
  double max_step_seconds = 0;   // 0: no bound in time
  double pace = 1;               // seconds that pass for one of these (StepPace)
};

struct Forecast {
  // As they pass.
  double queue_seconds = 0;    // until it starts
  double prefill_seconds = 0;  // from then to its first token
};

// Of a request of that class whose prompt takes prefill_seconds by itself, as predicted.
Forecast forecast(const QueuedWork& work, int32_t request_class, double prefill_seconds);
// Until all that waits now has started, if nothing else came; as it passes.
double start_all_seconds(const QueuedWork& work);

}  // namespace pagoda
