#include "cli/trace/trace_file.h"

#include <cmath>
#include <optional>
#include <span>

#include <boost/json.hpp>

#include "cli/json.h"
#include "io/hash.h"

namespace pagoda {

namespace {

namespace json = boost::json;

constexpr int64_t kMaxTokens = int64_t{1} << 30;
constexpr double kMaxSeconds = 1e9;

Result<int64_t> read_count(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  if (!value || !value->is_int64() || value->get_int64() < 1 || value->get_int64() > kMaxTokens)
    return fail(ErrorCode::invalid_argument, "'{}' must be a number of tokens from 1 on", name);
  return value->get_int64();
}

Result<int64_t> read_arrival(const json::object& object) {
  const json::value* value = object.if_contains("arrival");
  const std::optional<double> seconds =
      value && value->is_number() ? std::optional(value->to_number<double>()) : std::nullopt;
  if (!seconds || !(*seconds >= 0 && *seconds <= kMaxSeconds))
    return fail(ErrorCode::invalid_argument, "'arrival' must be seconds since the start");
  return std::llround(*seconds * 1e9);
}

Result<std::string> read_name(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  if (!value) return std::string();
  if (!value->is_string()) return fail(ErrorCode::invalid_argument, "'{}' must be a string", name);
  return std::string(value->get_string());
}

Result<std::vector<TraceSegment>> read_prefix(const json::object& object) {
  std::vector<TraceSegment> prefix;
  const json::value* value = object.if_contains("prefix");
  if (!value) return prefix;
  const auto wrong = [] {
    return fail(ErrorCode::invalid_argument, "'prefix' must be a list of [group, tokens]");
  };
  if (!value->is_array()) return wrong();
  for (const json::value& entry : value->get_array()) {
    const json::array* pair = entry.if_array();
    if (!pair || pair->size() != 2 || !pair->at(0).is_string() || !pair->at(1).is_int64()) return wrong();
    const int64_t num_tokens = pair->at(1).get_int64();
    if (num_tokens < 1 || num_tokens > kMaxTokens) return wrong();
    prefix.push_back({std::string(pair->at(0).get_string()), num_tokens});
  }
  return prefix;
}

Result<TraceRequest> read_request(const json::object& object) {
  TraceRequest request;
  PAGODA_TRY(request.arrival_ns, read_arrival(object));
  PAGODA_TRY(request.num_prompt_tokens, read_count(object, "prompt_tokens"));
  PAGODA_TRY(request.num_output_tokens, read_count(object, "output_tokens"));
  PAGODA_TRY(request.prefix, read_prefix(object));
  PAGODA_TRY(request.key, read_name(object, "key"));
  PAGODA_TRY(request.class_name, read_name(object, "class"));
  int64_t num_shared = 0;
  for (const TraceSegment& segment : request.prefix) num_shared += segment.num_tokens;
  if (num_shared > request.num_prompt_tokens)
    return fail(ErrorCode::invalid_argument, "the prefix has {} tokens, the prompt only {}", num_shared,
                request.num_prompt_tokens);
  return request;
}

uint64_t mix(uint64_t value) {  // the finaliser of SplitMix64 (Steele et al., 2014)
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

void append_tokens(const std::string& group, int64_t num_tokens, TokenRange range,
                   std::vector<int32_t>& out) {
  const uint64_t seed = checksum(std::as_bytes(std::span(group)));
  const auto width = static_cast<uint64_t>(range.last - range.first) + 1;
  for (int64_t i = 0; i < num_tokens; ++i)
    out.push_back(range.first + static_cast<int32_t>(mix(seed + static_cast<uint64_t>(i)) % width));
}

}  // namespace

Result<Trace> read_trace(const std::string& path) {
  Trace trace;
  PAGODA_TRY_STATUS(for_each_line(path, [&](std::string_view line) -> Status {
    PAGODA_TRY(const json::object object, json_object_of(line));
    if (trace.header.empty()) {
      if (!object.contains("trace"))
        return fail(ErrorCode::invalid_argument, "the first line must have a member 'trace'");
      trace.header = line;
      return {};
    }
    PAGODA_TRY(TraceRequest request, read_request(object));
    if (!trace.requests.empty() && request.arrival_ns < trace.requests.back().arrival_ns)
      return fail(ErrorCode::invalid_argument, "comes before the request of the line above");
    trace.requests.push_back(std::move(request));
    return {};
  }));
  if (trace.requests.empty()) return fail(ErrorCode::invalid_argument, "{}: a trace without requests", path);
  return trace;
}

std::vector<int32_t> make_prompt(const Trace& trace, size_t index, TokenRange range,
                                 const std::string& salt) {
  const TraceRequest& request = trace.requests[index];
  std::vector<int32_t> prompt;
  prompt.reserve(static_cast<size_t>(request.num_prompt_tokens));
  for (const TraceSegment& segment : request.prefix)
    append_tokens(salt + '\n' + segment.group, segment.num_tokens, range, prompt);
  append_tokens(fmt::format("{}\n{}\n{}", salt, trace.header, index),
                request.num_prompt_tokens - static_cast<int64_t>(prompt.size()), range, prompt);
  return prompt;
}

}  // namespace pagoda
