// /health, /ready, /metrics, /version, /openapi.json, /load: short, and never dependent on the engine thread.
#include <fmt/format.h>

#include "server/endpoint.h"
#include "server/openai/api_error.h"
#include "server/openapi_document.h"
#include "server/version.h"

namespace pagoda {

Answer get_health(AppContext&, HttpRequest) {
  return HttpResponse{.body = R"({"status":"ok"})"};
}

Answer get_ready(AppContext& context, HttpRequest) {
  if (context.draining)
    return to_response(service_unavailable("shutting_down", "The server is shutting down.", 0));
  if (!context.model.get())
    return to_response(service_unavailable("model_loading", "The model is being loaded.", 5));
  return HttpResponse{.body = R"({"status":"ready"})"};
}

Answer get_metrics(AppContext& context, HttpRequest) {
  HttpResponse response{.content_type = "text/plain; version=0.0.4; charset=utf-8"};
  if (const auto model = context.model.get())
    response.body = engine_metrics_text(model->engine->stats(), model->engine->config(), model->names.front(),
                                        context.refusals);
  response.body += context.http_metrics.text();
  response.body += context.unread_fields.metrics_text();
  if (context.traces)
    response.body += trace_metrics_text(context.traces->num_exported(), context.traces->num_dropped());
  response.body += process_metrics_text();
  return response;
}

Answer get_version(AppContext&, HttpRequest) {
  return HttpResponse{.body = fmt::format(R"({{"version":"{}"}})", kVersion)};
}

Answer get_openapi(AppContext&, HttpRequest) {
  return HttpResponse{.body = std::string(openapi_document())};
}

// vLLM's: requests that run or wait.
Answer get_load(AppContext& context, HttpRequest) {
  const EngineStats stats = context.model.get()->engine->stats();
  return HttpResponse{.body = fmt::format(R"({{"server_load":{}}})", stats.num_running + stats.num_waiting)};
}

}  // namespace pagoda
