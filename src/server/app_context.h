// What all endpoints share. Everything here may be used from any thread.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>

#include "server/admission.h"
#include "server/api_keys.h"
#include "server/id_source.h"
#include "server/metrics.h"
#include "server/openai/unread_fields.h"
#include "server/served_model.h"
#include "server/server_options.h"
#include "server/tracing/otlp_exporter.h"
#include "server/worker_pool.h"

namespace pagoda {

// The model, once it is loaded.
class ModelSlot {
 public:
  std::shared_ptr<const ServedModel> get() const {
    std::lock_guard lock(mutex_);
    return model_;
  }
  void set(std::shared_ptr<const ServedModel> model) {
    std::lock_guard lock(mutex_);
    model_ = std::move(model);
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const ServedModel> model_;
};

struct AppContext {
  explicit AppContext(ServerOptions o)
      : options(std::move(o)), keys(options.api_keys, options.key_limits), workers(options.num_workers) {}

  const ServerOptions options;
  const ApiKeys keys;
  IdSource ids;
  HttpMetrics http_metrics;
  UnreadFieldCounter unread_fields;
  RefusalCounts refusals;
  std::unique_ptr<OtlpExporter> traces;  // null: none are sent; set before the first request
  ModelSlot model;
  std::atomic<bool> draining{false};
  WorkerPool workers;  // last: its tasks use what stands above
};

}  // namespace pagoda
