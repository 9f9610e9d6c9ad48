#include "server/tracing/request_spans.h"

#include <fmt/format.h>

namespace pagoda {
namespace {

// Ids are 24 digits, of which the last 16 never repeat.
std::string new_span_id(IdSource& ids) {
  return ids.next().substr(8);
}

std::string new_trace_id(IdSource& ids) {
  return ids.next().substr(0, 16) + new_span_id(ids);
}

void add_child(std::vector<Span>& spans, const char* name, int64_t& start_ns, int64_t duration_ns,
               IdSource& ids) {
  if (duration_ns <= 0) return;
  Span child{.trace_id = spans.front().trace_id,
             .span_id = new_span_id(ids),
             .parent_id = spans.front().span_id,
             .name = name,
             .start_ns = start_ns,
             .end_ns = start_ns + duration_ns,
             .attributes = {}};
  start_ns = child.end_ns;
  spans.push_back(std::move(child));
}

}  // namespace

std::vector<Span> request_spans(const RequestRecord& record, std::string_view route, int64_t now_ns,
                                IdSource& ids) {
  const std::optional<TraceParent> parent = parse_trace_parent(record.trace_parent);
  if (parent && !parent->sampled) return {};
  const OperationReport& report = record.report;
  Span server{.trace_id = parent ? parent->trace_id : new_trace_id(ids),
              .span_id = new_span_id(ids),
              .parent_id = parent ? parent->span_id : "",
              .name = fmt::format("{} {}", record.method, route),
              .kind = Span::Kind::server,
              .start_ns = now_ns - record.duration_ns,
              .end_ns = now_ns,
              .attributes = {{"http.request.method", std::string(record.method)},
                             {"http.route", std::string(route)},
                             {"http.response.status_code", int64_t{record.status}},
                             {"pagoda.request_id", std::string(record.request_id)}},
              .failed = record.status >= 500 || record.client_gone};
  if (!report.model.empty()) {
    server.attributes.emplace_back("gen_ai.request.model", report.model);
    server.attributes.emplace_back("gen_ai.usage.input_tokens", report.num_prompt_tokens);
    server.attributes.emplace_back("gen_ai.usage.output_tokens", report.num_generated_tokens);
  }
  int64_t start_ns = server.start_ns + report.submitted_after_ns;
  std::vector<Span> spans = {std::move(server)};
  add_child(spans, "queue", start_ns, report.queued_ns, ids);
  add_child(spans, "prefill", start_ns, report.prefill_ns, ids);
  add_child(spans, "decode", start_ns, report.decode_ns, ids);
  return spans;
}

}  // namespace pagoda
