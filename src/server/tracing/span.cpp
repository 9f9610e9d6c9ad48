#include "server/tracing/span.h"

#include <algorithm>

#include <boost/json.hpp>

namespace pagoda {
namespace json = boost::json;

namespace {

bool is_lower_hex(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool is_zero(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c == '0'; });
}

json::object attribute(std::string_view key, const std::variant<std::string, int64_t>& value) {
  json::object wrapped;
  if (const auto* text = std::get_if<std::string>(&value))
    wrapped["stringValue"] = *text;
  else
    wrapped["intValue"] =
        std::to_string(std::get<int64_t>(value));  // 64-bit numbers are strings in OTLP's JSON
  return {{"key", key}, {"value", std::move(wrapped)}};
}

json::object to_json(const Span& span) {
  json::array attributes;
  for (const auto& [key, value] : span.attributes) attributes.push_back(attribute(key, value));
  json::object out{{"traceId", span.trace_id},
                   {"spanId", span.span_id},
                   {"name", span.name},
                   {"kind", static_cast<int>(span.kind)},
                   {"startTimeUnixNano", std::to_string(span.start_ns)},
                   {"endTimeUnixNano", std::to_string(span.end_ns)},
                   {"attributes", std::move(attributes)}};
  if (!span.parent_id.empty()) out["parentSpanId"] = span.parent_id;
  if (span.failed) out["status"] = json::object{{"code", 2}};
  return out;
}

}  // namespace

std::optional<TraceParent> parse_trace_parent(std::string_view header) {
  // "00-" trace id "-" span id "-" flags; later versions may append more after another dash.
  constexpr size_t kLength = 55;
  if (header.size() < kLength || header[2] != '-' || header[35] != '-' || header[52] != '-')
    return std::nullopt;
  const std::string_view version = header.substr(0, 2);
  const std::string_view trace_id = header.substr(3, 32);
  const std::string_view span_id = header.substr(36, 16);
  const std::string_view flags = header.substr(53, 2);
  for (const std::string_view part : {version, trace_id, span_id, flags})
    if (!is_lower_hex(part)) return std::nullopt;
  if (version == "ff" || is_zero(trace_id) || is_zero(span_id)) return std::nullopt;
  if (header.size() > kLength && (version == "00" || header[kLength] != '-')) return std::nullopt;
  const char low = flags[1];
  const int digit = low <= '9' ? low - '0' : low - 'a' + 10;
  return TraceParent{std::string(trace_id), std::string(span_id), (digit & 1) != 0};
}

std::string otlp_json(std::span<const Span> spans, std::string_view service_version) {
  json::array list;
  for (const Span& span : spans) list.push_back(to_json(span));
  const json::object scope{{"scope", json::object{{"name", "pagoda"}, {"version", service_version}}},
                           {"spans", std::move(list)}};
  const json::array resource{attribute("service.name", "pagoda"),
                             attribute("service.version", std::string(service_version))};
  const json::object of_resource{{"resource", json::object{{"attributes", resource}}},
                                 {"scopeSpans", json::array{scope}}};
  return json::serialize(json::object{{"resourceSpans", json::array{of_resource}}});
}

}  // namespace pagoda
