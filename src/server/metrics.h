// Prometheus metrics: the HTTP layer's, kept here; the engine's, under vLLM's names, and the process's, read
// when asked.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "engine/engine_config.h"
#include "engine/engine_stats.h"
#include "server/admission.h"

namespace pagoda {

class HttpMetrics {
 public:
  HttpMetrics();
  ~HttpMetrics();

  // handler: the route, never the raw path. Any thread.
  void count(std::string_view handler, std::string_view method, int status, double seconds);
  std::string text() const;

 private:
  struct Families;
  std::unique_ptr<Families> families_;
};

// The engine's gauges, counters and histograms in the text format, with the server's own refusals.
std::string engine_metrics_text(const EngineStats& stats, const EngineConfig& config,
                                std::string_view model_name, const RefusalCounts& refusals);
std::string trace_metrics_text(uint64_t num_exported, uint64_t num_dropped);
// process_resident_memory_bytes, process_cpu_seconds_total, process_open_fds, process_start_time_seconds, …
std::string process_metrics_text();

}  // namespace pagoda
