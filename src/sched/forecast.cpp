#include "sched/forecast.h"

#include <algorithm>
#include <numeric>

namespace pagoda {

namespace {

// Those that generate leave prompts at least that much of a step.
constexpr double kLeastPromptShare = 0.1;
// Who is overtaken for long ages, and a rate that has been seen lately says little about such times.
constexpr double kMostOvertaking = 0.85;

double sum_of(const ByClass& values, int32_t num_classes) {
  return std::accumulate(values.begin(), values.begin() + num_classes, 0.0);
}

}  // namespace

Forecast forecast(const QueuedWork& work, int32_t request_class, double prefill_seconds) {
  const double waiting = sum_of(work.waiting_seconds, request_class + 1);
  const double place = request_class < work.num_place_takers ? 0 : work.place_seconds;
  const double overtaking = std::min(work.pace * sum_of(work.arriving_share, request_class), kMostOvertaking);
  const bool bounded = work.max_step_seconds > 0;
  const double chunk_seconds =
      std::max(work.max_step_seconds - work.decode_seconds, kLeastPromptShare * work.max_step_seconds);
  // It comes when half of a step is still to pass, on average.
  const double step_seconds =
      work.decode_seconds + (bounded ? std::min(sum_of(work.prompt_seconds, kNumClasses), chunk_seconds) : 0);
  const double prompts = sum_of(work.prompt_seconds, request_class + 1) + prefill_seconds;
  const double num_steps = bounded ? std::max(prompts / chunk_seconds, 1.0) : 1;
  return {.queue_seconds = work.pace * (step_seconds / 2 + (waiting + place) / (1 - overtaking)),
          .prefill_seconds = work.pace * (prompts + num_steps * work.decode_seconds)};
}

double start_all_seconds(const QueuedWork& work) {
  return work.pace * (sum_of(work.waiting_seconds, kNumClasses) + work.place_seconds);
}

}  // namespace pagoda
