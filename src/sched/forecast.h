// How long a request that comes now will wait, from the work that is queued. Plain numbers.
#pragma once

#include <array>
#include <cstdint>

namespace pagoda {

// Classes of urgency that a policy tells apart: those of a smaller number go first whenever they came.
inline constexpr int32_t kNumClasses = 32;

// What an engine still has to do. The shares of sequences in a step add up to its time, so that work in
// seconds is done at the rate of a second in a second, however it is batched.
struct QueuedWork {
  std::array<double, kNumClasses> waiting_seconds{};  // by class: all that those that wait still need
  std::array<double, kNumClasses> prompt_seconds{};   // by class: prompts of those that run
  double place_seconds = 0;  // until one of those that run will end; 0 while there is a free place
  double decode_share = 0;   // of the time of a step, that those that generate take
};

struct Forecast {
  double queue_seconds = 0;    // until it starts
  double prefill_seconds = 0;  // from then to its first token
};

// Of a request of that class whose prompt takes prefill_seconds by itself.
Forecast forecast(const QueuedWork& work, int32_t request_class, double prefill_seconds);

}  // namespace pagoda
