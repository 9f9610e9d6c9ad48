// Fields of requests that this server does not know: ignored, but not silently. Each is counted under its
// name if it is one that other servers or newer clients are known for, else as "other", so that no client can
// make the set of labels grow.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <string>

namespace pagoda {

class UnreadFieldCounter {
 public:
  // Any thread. At debug level each name is logged.
  void count(std::span<const std::string> names, const std::string& request_id);
  // pagoda_unknown_request_fields_total{field="…"}, of those that occurred.
  std::string metrics_text() const;

 private:
  static constexpr size_t kMaxLabels = 96;
  std::array<std::atomic<uint64_t>, kMaxLabels> counts_{};  // the last: other
};

}  // namespace pagoda
