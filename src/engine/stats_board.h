// Where the engine thread writes its numbers and any thread reads them. The lock is held for a copy or a few
// additions, never for a step.
#pragma once

#include <cstdint>
#include <mutex>

#include "engine/engine_config.h"
#include "engine/engine_stats.h"
#include "engine/sequence.h"

namespace pagoda {

// What one step did.
struct StepRecord {
  int64_t num_running = 0;
  int64_t num_waiting = 0;
  int64_t num_parked = 0;
  int64_t kv_pages_used = 0;
  PrefixCacheStats prefix_cache;
  int64_t num_tokens = 0;         // computed, prompts and generation; 0: nothing was computed
  int64_t num_prompt_tokens = 0;  // of those
  int64_t num_sampled_tokens = 0;
  int64_t num_preemptions = 0;  // so far
  double seconds = 0;           // where something was computed
  double predicted_seconds = 0;
  EngineStats::CostModelStats costs;
  QueuedWork queued_work;
};

class StatsBoard {
 public:
  explicit StatsBoard(const EngineConfig& config);

  // ---- any thread ----
  EngineStats snapshot() const;
  // What a forecast needs.
  struct Outlook {
    CostVector coefficients{};
    QueuedWork work;
  };
  Outlook outlook() const;

  // ---- the engine thread; none allocates ----
  void record_corruption();
  void record_step(const StepRecord& step);
  // Its prompt is in the cache.
  void record_prompt(const RequestState& request);
  // A token of the sequence, whose times are as of the token before.
  void record_token(const Sequence& sequence, int64_t now_ns);
  void record_sequence_end(const Sequence& sequence);
  void record_request_end(const RequestState& request, int64_t now_ns);

 private:
  mutable std::mutex mutex_;
  EngineStats stats_;
};

RequestTimings timings_of(const RequestState& request);

}  // namespace pagoda
