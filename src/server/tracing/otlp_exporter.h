// Sends spans to an OpenTelemetry collector, on a thread of its own.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "server/tracing/span.h"

namespace pagoda {

// Spans wait in a bounded queue and go out in batches. A collector that is slow, dead or unwilling costs
// spans, which are counted, and nothing else.
class OtlpExporter {
 public:
  static constexpr size_t kMaxQueued = 8192;
  static constexpr size_t kMaxBatch = 512;

  // `endpoint`: http://HOST:PORT, to which /v1/traces is added, or a whole URL with a path.
  static Result<std::unique_ptr<OtlpExporter>> create(const std::string& endpoint);
  ~OtlpExporter();  // tries once to send what waits, for seconds at most

  // Any thread; never blocks on the network.
  void add(std::vector<Span> spans);
  uint64_t num_exported() const { return num_exported_; }
  uint64_t num_dropped() const { return num_dropped_; }

 private:
  struct Connection;
  explicit OtlpExporter(std::unique_ptr<Connection> connection);
  void run();
  void send(std::vector<Span> batch);

  const std::unique_ptr<Connection> connection_;  // of the thread
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Span> queue_;
  bool stopping_ = false;
  std::atomic<uint64_t> num_exported_{0};
  std::atomic<uint64_t> num_dropped_{0};
  std::thread thread_;  // last: uses what stands above
};

}  // namespace pagoda
