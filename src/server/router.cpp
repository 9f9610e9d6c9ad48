#include "server/router.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <iterator>

#include "base/log_event.h"
#include "server/anthropic/anthropic_error.h"
#include "server/cors.h"
#include "server/openai/api_error.h"
#include "server/tracing/request_spans.h"

namespace pagoda {
namespace {

constexpr size_t kMaxRequestIdBytes = 128;

bool matches(const Route& route, std::string_view path) {
  if (!route.path.ends_with("/*")) return path == route.path;
  const std::string_view prefix = route.path.substr(0, route.path.size() - 1);
  return path.starts_with(prefix) && path.size() > prefix.size();
}

const Route* find_route(std::string_view method, std::string_view path) {
  for (const Route& route : all_routes())
    if (matches(route, path) && (route.method == method || (method == "HEAD" && route.method == "GET")))
      return &route;
  return nullptr;
}

// "GET, HEAD": the methods of a path, or empty if there is no such path.
std::string allowed_methods(std::string_view path) {
  std::string methods;
  for (const Route& route : all_routes()) {
    if (!matches(route, path)) continue;
    if (!methods.empty()) methods += ", ";
    methods += route.method;
    if (route.method == "GET") methods += ", HEAD";
  }
  return methods;
}

bool is_request_id(std::string_view text) {
  return !text.empty() && text.size() <= kMaxRequestIdBytes &&
         std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f; });
}

std::string_view given_key(const HttpRequest& request) {
  constexpr std::string_view kBearer = "bearer ";
  const std::string_view authorization = request.header("authorization");
  const bool bearer = authorization.size() > kBearer.size() &&
                      std::ranges::equal(authorization.substr(0, kBearer.size()), kBearer,
                                         [](char a, char b) { return (a | 0x20) == (b | 0x20); });
  return bearer ? authorization.substr(kBearer.size()) : request.header("x-api-key");
}

HttpResponse refuse_key(std::string_view key) {
  return to_response(
      {.status = 401,
       .message = key.empty() ? "You did not provide an API key. Send it in the header 'Authorization: "
                                "Bearer YOUR_KEY'."
                              : "Incorrect API key provided.",
       .code = "invalid_api_key"});
}

HttpResponse refuse_path(const HttpRequest& request) {
  const std::string methods = allowed_methods(request.path);
  if (methods.empty())
    return to_response({.status = 404,
                        .message = fmt::format("Invalid URL ({} {}).", request.method, request.path),
                        .code = "unknown_url"});
  HttpResponse response = to_response(
      {.status = 405,
       .message = fmt::format("Not allowed to {} on {}. Allowed: {}.", request.method, request.path, methods),
       .code = "method_not_allowed"});
  response.headers.emplace_back("Allow", methods);
  return response;
}

void strip_root(std::string_view root, std::string& path) {
  if (!root.empty() && path.starts_with(root) && path.size() > root.size() && path[root.size()] == '/')
    path.erase(0, root.size());
}

// As llama.cpp's clients have them: "/chat/completions" is "/v1/chat/completions".
void add_version(std::string& path) {
  if (!allowed_methods(path).empty()) return;
  std::string versioned = "/v1" + path;
  if (!allowed_methods(versioned).empty()) path = std::move(versioned);
}

// Bounds the label values of the metrics: clients choose methods and paths freely.
std::string_view method_label(std::string_view method) {
  static constexpr std::array kMethods = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
  return std::ranges::find(kMethods, method) != kMethods.end() ? method : "other";
}

// What a client chose may not forge a line, nor colour a terminal.
std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c > 0x20 && c < 0x7f)
      out += c;
    else
      fmt::format_to(std::back_inserter(out), "%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

// Who, what and how long; never what was said.
void log_request(const RequestRecord& record, int status) {
  const std::string path = printable(record.path);
  std::vector<LogField> fields = {{"request_id", record.request_id},
                                  {"method", record.method},
                                  {"path", path},
                                  {"status", int64_t{status}},
                                  {"duration_ms", static_cast<double>(record.duration_ns) * 1e-6},
                                  {"bytes", static_cast<int64_t>(record.sent_bytes)}};
  if (record.client_gone) fields.push_back({"client_gone", int64_t{1}});
  if (record.tenant && !record.tenant->label().empty()) fields.push_back({"key", record.tenant->label()});
  const OperationReport& report = record.report;
  if (!report.model.empty()) {
    fields.push_back({"model", report.model});
    fields.push_back({"prompt_tokens", report.num_prompt_tokens});
    fields.push_back({"completion_tokens", report.num_generated_tokens});
    fields.push_back({"queue_ms", static_cast<double>(report.queued_ns) * 1e-6});
    fields.push_back({"prefill_ms", static_cast<double>(report.prefill_ns) * 1e-6});
    fields.push_back({"decode_ms", static_cast<double>(report.decode_ns) * 1e-6});
  }
  log_event("request", fields);
}

// Errors as the API of the path has them.
HttpResponse in_the_shape_of(std::string_view path, HttpResponse error) {
  const bool anthropic = path == "/v1/messages" || path.starts_with("/v1/messages/");
  return anthropic ? to_anthropic_error(std::move(error)) : std::move(error);
}

}  // namespace

std::optional<HttpResponse> Router::admit(HttpRequest& head) {
  std::optional<HttpResponse> refusal = refuse(head);
  if (refusal) refusal = in_the_shape_of(head.path, std::move(*refusal));
  return refusal;
}

std::optional<HttpResponse> Router::refuse(HttpRequest& head) {
  const std::string_view given_id = head.header("x-request-id");
  head.id = is_request_id(given_id) ? std::string(given_id) : "req-" + context_.ids.next();
  strip_root(context_.options.root_path, head.path);
  add_version(head.path);
  const bool may_call = add_cors_headers(context_.options.cors_origins, head);
  if (may_call && head.method == "OPTIONS" && !head.header("access-control-request-method").empty())
    return HttpResponse{.status = 204, .content_type = ""};
  const Route* route = find_route(head.method, head.path);
  const bool needs_key = route ? route->access == Route::Access::key : head.path.starts_with("/v1/");
  if (needs_key) {
    const std::string_view key = given_key(head);
    head.tenant = context_.keys.find(key);
    if (!head.tenant) return refuse_key(key);
  }
  if (!route) return refuse_path(head);
  if (route->needs == Route::Needs::nothing) return std::nullopt;
  if (context_.draining)
    return to_response(service_unavailable("shutting_down", "The server is shutting down.", 0));
  if (!context_.model.get())
    return to_response(service_unavailable("model_loading", "The model is being loaded. Please retry.", 5));
  return std::nullopt;
}

Answer Router::handle(HttpRequest request) {
  const Route* route = find_route(request.method, request.path);
  if (!route) return refuse_path(request);
  return route->endpoint(context_, std::move(request));
}

HttpResponse Router::fault(TransportFault fault, std::string_view path, std::string_view detail) {
  return in_the_shape_of(path, to_response(transport_error(fault, detail)));
}

ApiError Router::transport_error(TransportFault fault, std::string_view detail) const {
  switch (fault) {
    case TransportFault::headers_too_large:
      return {.status = 431,
              .message =
                  fmt::format("The request's headers exceed {} bytes.", context_.options.http.header_limit),
              .code = "headers_too_large"};
    case TransportFault::body_too_large:
      return {.status = 413,
              .message = fmt::format("The request's body exceeds the limit of {} bytes.",
                                     context_.options.http.body_limit),
              .code = "request_too_large"};
    case TransportFault::too_slow:
      return {.status = 408,
              .message = "The request was not received completely in time.",
              .code = "request_timeout"};
    case TransportFault::bad_request:
      break;
  }
  return {.status = 400, .message = fmt::format("Not a valid HTTP request: {}.", detail), .code = "bad_http"};
}

void Router::record(const RequestRecord& record) {
  constexpr int kClientClosed = 499;  // nginx's number for a client that left before an answer
  const int status = record.status != 0 ? record.status : kClientClosed;
  const Route* route = find_route(record.method, record.path);
  const double seconds = static_cast<double>(record.duration_ns) * 1e-9;
  context_.http_metrics.count(route ? route->path : "none", method_label(record.method), status, seconds);
  if (context_.traces && route && route->access == Route::Access::key) {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    std::vector<Span> spans =
        request_spans(record, route->path, std::chrono::nanoseconds(now).count(), context_.ids);
    if (!spans.empty()) context_.traces->add(std::move(spans));
  }
  if (context_.options.request_log == ServerOptions::RequestLog::on) log_request(record, status);
}

}  // namespace pagoda
