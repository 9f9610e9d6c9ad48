// Numbers for /metrics, /health and tests: counters only grow, gauges are as of the last step.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "kv/prefix_cache.h"
#include "sched/cost_model.h"
#include "sched/forecast.h"

namespace pagoda {

// A histogram with fixed upper bounds, cumulative only when exported.
struct HistogramData {
  std::vector<double> bounds;
  std::vector<uint64_t> counts;  // bounds.size() + 1: the last counts what exceeds all
  double sum = 0;
  void observe(double value);
};

struct EngineStats {
  struct CostModelStats {
    CostVector coefficients{};  // seconds per unit
    double median_error = 0;    // relative
    double margin = 0;          // relative
    double pace = 1;            // of the machine just now: CostModel::pace()
  };
  // gauges, in sequences
  int64_t num_running = 0;
  int64_t num_waiting = 0;
  int64_t num_parked = 0;  // among those waiting: their clients do not read
  int64_t kv_pages_total = 0;
  int64_t kv_pages_used = 0;  // by sequences; what is only kept for later does not count
  double kv_usage = 0;        // 0 … 1
  PrefixCacheStats prefix_cache;
  // counters
  uint64_t num_steps = 0;
  uint64_t num_preemptions = 0;
  uint64_t prompt_tokens = 0;
  uint64_t prompt_tokens_cached = 0;   // of those: found in the cache
  uint64_t prompt_tokens_swapped = 0;  // of those: read from the store
  uint64_t generation_tokens = 0;
  uint64_t finished_stop = 0;  // sequences by reason
  uint64_t finished_length = 0;
  uint64_t finished_abort = 0;
  uint64_t finished_error = 0;
  uint64_t corrupted_requests = 0;   // whose logits were not numbers
  uint64_t rejected_queue_full = 0;  // submissions by reason
  uint64_t rejected_queued_tokens = 0;
  uint64_t rejected_closed = 0;
  // histograms, seconds or tokens
  HistogramData time_to_first_token;
  HistogramData inter_token_latency;
  HistogramData request_time_per_output_token;
  HistogramData e2e_latency;
  HistogramData queue_time;
  HistogramData prefill_time;
  HistogramData decode_time;
  HistogramData inference_time;
  HistogramData request_prompt_tokens;
  HistogramData request_generation_tokens;
  HistogramData request_max_generation_tokens;  // of its longest sequence
  HistogramData request_max_tokens;
  HistogramData request_n;
  HistogramData request_preemptions;
  HistogramData iteration_tokens;  // of one step: prompt tokens computed and tokens sampled
  HistogramData step_time;
  double predicted_step_seconds = 0;  // of the same steps, before they ran
  CostModelStats costs;               // as of the last step
  QueuedWork queued_work;             // likewise
};

}  // namespace pagoda
