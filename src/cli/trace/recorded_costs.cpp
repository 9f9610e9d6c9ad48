#include "cli/trace/recorded_costs.h"

#include <algorithm>
#include <cmath>
#include <span>

namespace pagoda {

namespace {

constexpr int64_t kWindowNs = 2'000'000'000;
constexpr int kRounds = 2;

struct RecordedStep {
  size_t window = 0;  // in which it began
  StepWork work;
  double seconds = 0;        // until the next one began, if there was more to do
  double between_share = 0;  // of them, after the step
};

int64_t first_arrival_ns(const StepRecording& recording) {
  for (const RecordedMoment& moment : recording.moments)
    if (!moment.arrivals.empty()) return moment.arrivals.front().at_ns;
  return recording.moments.empty() ? 0 : recording.moments.front().start_ns;
}

size_t window_of(int64_t since_first_request_ns) {
  return static_cast<size_t>(std::max<int64_t>(since_first_request_ns, 0) / kWindowNs);
}

std::vector<RecordedStep> steps_of(const StepRecording& recording, const AttentionReach& reach) {
  const int64_t first_ns = first_arrival_ns(recording);
  std::vector<RecordedStep> steps;
  for (size_t i = 0; i < recording.moments.size(); ++i) {
    const RecordedMoment& moment = recording.moments[i];
    if (moment.items.empty()) continue;
    RecordedStep step{.window = window_of(moment.start_ns - first_ns)};
    for (const RecordedItem& item : moment.items)
      step.work.add({item.first_position, item.num_tokens, item.token >= 0 ? 1 : 0}, reach);
    const bool goes_on = !std::ranges::all_of(moment.items, &RecordedItem::ended);
    const bool has_next = i + 1 < recording.moments.size();
    const int64_t end_ns =
        goes_on && has_next ? std::max(moment.end_ns, recording.moments[i + 1].start_ns) : moment.end_ns;
    step.seconds = static_cast<double>(end_ns - moment.start_ns) * 1e-9;
    if (end_ns > moment.start_ns)
      step.between_share =
          static_cast<double>(end_ns - moment.end_ns) / static_cast<double>(end_ns - moment.start_ns);
    steps.push_back(step);
  }
  return steps;
}

// Fitted to the steps at an even pace, each by the factor of its window. No factors: as they were.
CostModel fit_at_pace(const StepRecording& recording, std::span<const RecordedStep> steps,
                      std::span<const double> factors) {
  CostModel fitted(recording.costs.reach(), recording.costs.guess());
  double recorded_seconds = 0;
  for (const RecordedStep& step : steps) {
    const double factor = factors.empty() ? 1 : factors[step.window];
    fitted.add_seed(step.work, step.seconds / factor);
    recorded_seconds += step.seconds;
  }
  fitted.fit();
  double predicted_seconds = 0;
  for (const RecordedStep& step : steps) predicted_seconds += fitted.predict(step.work);
  CostVector seconds = fitted.coefficients();
  if (predicted_seconds <= 0) return CostModel(recording.costs.reach(), seconds);
  for (double& coefficient : seconds) coefficient *= recorded_seconds / predicted_seconds;
  return CostModel(recording.costs.reach(), seconds);
}

std::vector<double> factors_of(std::span<const RecordedStep> steps, const CostModel& costs) {
  struct Sums {
    double recorded_seconds = 0;
    double predicted_seconds = 0;
  };
  std::vector<Sums> sums;
  for (const RecordedStep& step : steps) {
    if (step.window >= sums.size()) sums.resize(step.window + 1);
    sums[step.window].recorded_seconds += step.seconds;
    sums[step.window].predicted_seconds += costs.predict(step.work);
  }
  std::vector<double> factors;
  double factor = 1;
  for (const Sums& window : sums) {
    if (window.recorded_seconds > 0 && window.predicted_seconds > 0)
      factor = window.recorded_seconds / window.predicted_seconds;
    factors.push_back(factor);
  }
  return factors;
}

}  // namespace

CostModel fit_costs(const StepRecording& recording) {
  const std::vector<RecordedStep> steps = steps_of(recording, recording.costs.reach());
  CostModel costs = fit_at_pace(recording, steps, {});
  for (int round = 0; round < kRounds; ++round)
    costs = fit_at_pace(recording, steps, factors_of(steps, costs));
  return costs;
}

// In powers of two: the first are shorter than 2 ms, the last take 128 or more.
size_t Pace::length_of(double predicted_seconds) {
  const int exponent = std::ilogb(std::max(predicted_seconds, 1e-3) * 1e3);
  return std::min(static_cast<size_t>(std::max(exponent, 0)), kNumLengths - 1);
}

Pace Pace::of(const StepRecording& recording, const CostModel& costs) {
  const std::vector<RecordedStep> steps = steps_of(recording, costs.reach());
  Pace pace;
  for (const double factor : factors_of(steps, costs)) pace.windows_.push_back({.factor = factor});
  for (const RecordedStep& step : steps) {
    Window& window = pace.windows_[step.window];
    const double predicted = costs.predict(step.work);
    if (const double usual = window.factor * predicted; usual > 0 && step.seconds > 0)
      window.steps[length_of(predicted)].push_back({step.seconds / usual, step.between_share});
  }
  for (Window& window : pace.windows_)
    for (std::vector<Unevenness>& steps_of_length : window.steps) {
      double sum = 0;
      for (const Unevenness& step : steps_of_length) sum += step.factor;
      for (Unevenness& step : steps_of_length)
        step.factor *= static_cast<double>(steps_of_length.size()) / sum;
    }
  return pace;
}

Pace::StepTime Pace::time_of(int64_t nth, int64_t since_first_request_ns, double predicted_seconds) const {
  const size_t index = window_of(since_first_request_ns);
  if (index >= windows_.size()) return {.seconds = predicted_seconds};
  const std::vector<Unevenness>& like = windows_[index].steps[length_of(predicted_seconds)];
  const Unevenness step = like.empty() ? Unevenness() : like[static_cast<size_t>(nth) % like.size()];
  const double seconds = predicted_seconds * windows_[index].factor * step.factor;
  return {.seconds = seconds * (1 - step.between_share), .between_seconds = seconds * step.between_share};
}

}  // namespace pagoda
