#include "sched/forecast.h"

#include <algorithm>
#include <numeric>

namespace pagoda {

Forecast forecast(const QueuedWork& work, int32_t request_class, double prefill_seconds) {
  constexpr double kMostDecodeShare = 0.9;
  const auto before = [&](const std::array<double, kNumClasses>& seconds) {
    return std::accumulate(seconds.begin(), seconds.begin() + request_class + 1, 0.0);
  };
  const double waiting = before(work.waiting_seconds);
  // Prompts that go first and its own share what those that generate leave of each step.
  const double stretch = 1 / (1 - std::min(work.decode_share, kMostDecodeShare));
  return {.queue_seconds = waiting + work.place_seconds,
          .prefill_seconds = (before(work.prompt_seconds) + prefill_seconds) * stretch};
}

}  // namespace pagoda
