// The engine itself under a trace, in virtual time: requests come when the trace says, and a step takes as
// long as a cost model predicts, transfers of pages as long as a disk's model says. Admission, policy,
// planning, pages and prefix cache are the engine's own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/result.h"
#include "cli/trace/disk_model.h"
#include "cli/trace/recorded_costs.h"
#include "cli/trace/step_recording.h"
#include "cli/trace/trace_file.h"
#include "cli/trace/trace_report.h"
#include "engine/engine_config.h"
#include "sched/cost_model.h"

namespace pagoda {

struct SimulationOptions {
  // As for a server. 0 or empty: as there, but for max_context (what the longest request needs) and
  // max_queued_requests (all of the trace).
  EngineOptions engine;
  int64_t kv_tokens = 0;                 // room in the KV cache; 0: for max_sequences at full context
  int64_t max_tokens = 0;                // that each request asks for at least; 0: just as long as it is
  CostModel costs = CostModel();         // what steps take
  std::optional<CostModel> first_costs;  // what the engine takes them for until it has seen some; none: costs
  Pace pace;                             // of the machine, by the trace's first arrival
  std::optional<DiskModel> disk;         // that full pages are kept on, too, in engine.kv_disk_bytes of it
  std::shared_ptr<StepRecorder> recorder;   // of all steps; may be null
  std::function<void(double)> on_progress;  // 0 … 1
};

struct Simulation {
  std::vector<TraceOutcome> outcomes;  // one for each request of the trace
  int64_t num_steps = 0;
  double busy_seconds = 0;  // in steps
  int64_t num_preemptions = 0;
  double kv_utilisation = 0;     // page_usage.h
  int64_t kv_tokens = 0;         // room in the KV cache
  int64_t num_stored_pages = 0;  // written to the disk
  int64_t num_loaded_pages = 0;  // read from there
};

// The same bits for the same arguments. Errors: options that no engine takes. A request that the engine
// refuses has an outcome with an error.
Result<Simulation> simulate(const Trace& trace, const SimulationOptions& options);

}  // namespace pagoda
