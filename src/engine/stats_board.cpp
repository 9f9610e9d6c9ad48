#include "engine/stats_board.h"

#include <algorithm>
#include <cmath>

namespace pagoda {

namespace {

// Bucket edges as vLLM has them, so that its dashboards fit.
constexpr double kFirstTokenSeconds[] = {0.001, 0.005, 0.01, 0.02,  0.04,  0.06,  0.08, 0.1,
                                         0.25,  0.5,   0.75, 1.0,   2.5,   5.0,   7.5,  10.0,
                                         20.0,  40.0,  80.0, 160.0, 640.0, 2560.0};
constexpr double kTokenSeconds[] = {0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2,  0.3,  0.4, 0.5,
                                    0.75, 1.0,   2.5,  5.0,   7.5, 10.0, 20.0, 40.0, 80.0};
constexpr double kRequestSeconds[] = {0.3,  0.5,  0.8,  1.0,  1.5,   2.0,   2.5,   5.0,   10.0,   15.0,  20.0,
                                      30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0};
constexpr double kIterationTokens[] = {1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};
constexpr double kStepSeconds[] = {0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07,
                                   0.1,   0.15,  0.2,   0.3,  0.5,  1.0,  2.0,  5.0};
constexpr double kSequencesPerRequest[] = {1, 2, 5, 10, 20};
constexpr double kPreemptionsPerRequest[] = {1, 2, 3, 4, 5, 10, 20};

double seconds(int64_t ns) {
  return static_cast<double>(ns) * 1e-9;
}

// 1, 2, 5, 10, 20, 50, … up to max.
std::vector<double> token_count_bounds(int64_t max) {
  std::vector<double> bounds;
  for (double power = 1; power <= static_cast<double>(max); power *= 10)
    for (const double mantissa : {1.0, 2.0, 5.0})
      if (mantissa * power <= static_cast<double>(max)) bounds.push_back(mantissa * power);
  return bounds;
}

HistogramData histogram(std::span<const double> bounds) {
  HistogramData data;
  data.bounds.assign(bounds.begin(), bounds.end());
  data.counts.resize(bounds.size() + 1);
  return data;
}

}  // namespace

void HistogramData::observe(double value) {
  const auto bucket = std::ranges::lower_bound(bounds, value) - bounds.begin();
  ++counts[static_cast<size_t>(bucket)];
  sum += value;
}

RequestTimings timings_of(const RequestState& request) {
  RequestTimings timings{.num_prompt_tokens = request.num_prompt(),
                         .num_cached_tokens = request.num_cached_tokens,
                         .num_swapped_tokens = request.num_swapped_tokens,
                         .num_kept_tokens = request.num_kept_tokens,
                         .num_preemptions = request.num_preemptions};
  if (request.first_scheduled_ns >= 0) timings.queued_ns = request.first_scheduled_ns - request.arrival_ns;
  if (request.first_token_ns >= 0) {
    timings.prefill_ns = request.first_token_ns - request.first_scheduled_ns;
    timings.decode_ns = request.last_token_ns - request.first_token_ns;
    timings.waited_ns = request.last_token_ns - request.arrival_ns - request.served_ns;
  }
  for (const auto& sequence : request.sequences)
    timings.num_generated_tokens += sequence->output.num_tokens();
  return timings;
}

StatsBoard::StatsBoard(const EngineConfig& config) {
  stats_.kv_pages_total = config.num_pages;
  stats_.time_to_first_token = histogram(kFirstTokenSeconds);
  stats_.inter_token_latency = histogram(kTokenSeconds);
  stats_.request_time_per_output_token = histogram(kTokenSeconds);
  for (HistogramData* latency : {&stats_.e2e_latency, &stats_.queue_time, &stats_.prefill_time,
                                 &stats_.decode_time, &stats_.inference_time})
    *latency = histogram(kRequestSeconds);
  for (HistogramData* tokens : {&stats_.request_prompt_tokens, &stats_.request_generation_tokens,
                                &stats_.request_max_generation_tokens, &stats_.request_max_tokens})
    *tokens = histogram(token_count_bounds(config.max_context));
  stats_.request_n = histogram(kSequencesPerRequest);
  stats_.request_preemptions = histogram(kPreemptionsPerRequest);
  stats_.iteration_tokens = histogram(kIterationTokens);
  stats_.step_time = histogram(kStepSeconds);
}

EngineStats StatsBoard::snapshot() const {
  std::lock_guard lock(mutex_);
  return stats_;
}

void StatsBoard::record_corruption() {
  std::lock_guard lock(mutex_);
  ++stats_.corrupted_requests;
}

StatsBoard::Outlook StatsBoard::outlook() const {
  std::lock_guard lock(mutex_);
  return {stats_.costs.coefficients, stats_.queued_work};
}

void StatsBoard::record_step(const StepRecord& step) {
  std::lock_guard lock(mutex_);
  stats_.costs = step.costs;
  stats_.queued_work = step.queued_work;
  stats_.num_running = step.num_running;
  stats_.num_waiting = step.num_waiting;
  stats_.num_parked = step.num_parked;
  stats_.kv_pages_used = step.kv_pages_used;
  stats_.prefix_cache = step.prefix_cache;
  stats_.kv_usage = static_cast<double>(step.kv_pages_used) / static_cast<double>(stats_.kv_pages_total);
  stats_.num_preemptions = static_cast<uint64_t>(step.num_preemptions);
  if (step.num_tokens == 0) return;
  ++stats_.num_steps;
  stats_.iteration_tokens.observe(static_cast<double>(step.num_prompt_tokens + step.num_sampled_tokens));
  stats_.step_time.observe(step.seconds);
  stats_.predicted_step_seconds += step.predicted_seconds;
}

void StatsBoard::record_prompt(const RequestState& request) {
  std::lock_guard lock(mutex_);
  stats_.prompt_tokens += static_cast<uint64_t>(request.num_prompt());
  stats_.prompt_tokens_cached += static_cast<uint64_t>(request.num_cached_tokens);
  stats_.prompt_tokens_swapped += static_cast<uint64_t>(request.num_swapped_tokens);
}

void StatsBoard::record_token(const Sequence& sequence, int64_t now_ns) {
  std::lock_guard lock(mutex_);
  ++stats_.generation_tokens;
  if (sequence.last_token_ns >= 0) {
    stats_.inter_token_latency.observe(seconds(now_ns - sequence.last_token_ns));
  } else if (sequence.request.first_token_ns < 0) {
    stats_.time_to_first_token.observe(seconds(now_ns - sequence.request.arrival_ns));
  }
}

void StatsBoard::record_sequence_end(const Sequence& sequence) {
  std::lock_guard lock(mutex_);
  switch (sequence.output.finish_reason().value_or(FinishReason::error)) {
    case FinishReason::stop:
      ++stats_.finished_stop;
      break;
    case FinishReason::length:
      ++stats_.finished_length;
      break;
    case FinishReason::cancelled:
      ++stats_.finished_abort;
      break;
    case FinishReason::error:
      ++stats_.finished_error;
      break;
  }
  const int64_t num_tokens = sequence.output.num_tokens();
  if (num_tokens > 1)
    stats_.request_time_per_output_token.observe(seconds(sequence.last_token_ns - sequence.first_token_ns) /
                                                 static_cast<double>(num_tokens - 1));
}

void StatsBoard::record_request_end(const RequestState& request, int64_t now_ns) {
  const RequestTimings timings = timings_of(request);
  std::lock_guard lock(mutex_);
  if (!request.status) return;
  stats_.e2e_latency.observe(seconds(now_ns - request.arrival_ns));
  stats_.queue_time.observe(seconds(timings.queued_ns));
  stats_.prefill_time.observe(seconds(timings.prefill_ns));
  stats_.decode_time.observe(seconds(timings.decode_ns));
  stats_.inference_time.observe(seconds(timings.prefill_ns + timings.decode_ns));
  stats_.request_prompt_tokens.observe(static_cast<double>(timings.num_prompt_tokens));
  stats_.request_generation_tokens.observe(static_cast<double>(timings.num_generated_tokens));
  int64_t longest = 0;
  for (const auto& sequence : request.sequences) longest = std::max(longest, sequence->output.num_tokens());
  stats_.request_max_generation_tokens.observe(static_cast<double>(longest));
  stats_.request_max_tokens.observe(static_cast<double>(request.request.max_tokens));
  stats_.request_n.observe(static_cast<double>(request.request.num_sequences));
  stats_.request_preemptions.observe(static_cast<double>(timings.num_preemptions));
}

}  // namespace pagoda
