// Spans of OpenTelemetry: what took how long, as part of what.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace pagoda {

struct Span {
  std::string trace_id;   // 32 hexadecimal digits
  std::string span_id;    // 16
  std::string parent_id;  // 16, or empty
  std::string name;
  enum class Kind { internal = 1, server = 2 } kind = Kind::internal;
  int64_t start_ns = 0;  // since the Unix epoch
  int64_t end_ns = 0;
  std::vector<std::pair<std::string, std::variant<std::string, int64_t>>> attributes;
  bool failed = false;
};

// The caller's place in a trace, from W3C's header `traceparent`.
struct TraceParent {
  std::string trace_id;
  std::string span_id;
  bool sampled = true;
};

// Nothing if the header is not as https://www.w3.org/TR/trace-context has it; then a new trace begins.
std::optional<TraceParent> parse_trace_parent(std::string_view header);

// The body of a POST to /v1/traces: an ExportTraceServiceRequest in OTLP's JSON.
std::string otlp_json(std::span<const Span> spans, std::string_view service_version);

}  // namespace pagoda
