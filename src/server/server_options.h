// What `pagoda serve` can be told about its HTTP side.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "engine/request.h"
#include "server/http/http_server.h"
#include "server/output/output_parser.h"
#include "server/tenant.h"

namespace pagoda {

struct ServerOptions {
  HttpOptions http;
  std::vector<std::string>
      model_names;  // that requests may use; the first is shown. Empty: the model file's name
  OutputFormatNames output_formats;
  std::vector<ApiKey> api_keys;                     // empty: everybody may; else needed for /v1/…
  TenantLimits key_limits;                          // of keys without limits of their own
  std::chrono::milliseconds drain_timeout{30'000};  // how long running requests may go on after a stop
  Pooling pooling = Pooling::last;                  // of /v1/embeddings
  int num_workers = 2;                              // threads that parse, render and tokenise
  enum class RequestLog { on, off } request_log = RequestLog::on;
  std::vector<std::string> cors_origins;  // whose pages may call; "*": all. Empty: no CORS headers
  std::string root_path;      // where a proxy mounts the server, as "/llm"; requests may have it or not
  std::string otlp_endpoint;  // of a collector for traces; empty: none
};

}  // namespace pagoda
