#include "server/cors.h"

#include <algorithm>

namespace pagoda {

bool add_cors_headers(std::span<const std::string> origins, HttpRequest& head) {
  const std::string_view origin = head.header("origin");
  if (origin.empty() || origins.empty()) return false;
  const bool all = std::ranges::find(origins, "*") != origins.end();
  if (!all) head.response_headers.emplace_back("Vary", "Origin");
  if (!all && std::ranges::find(origins, origin) == origins.end()) return false;
  const std::string allowed(all ? "*" : origin);
  const std::string wanted(head.header("access-control-request-headers"));
  HeaderList& out = head.response_headers;
  out.emplace_back("Access-Control-Allow-Origin", allowed);
  out.emplace_back("Access-Control-Expose-Headers", "X-Request-Id, Retry-After");
  if (head.method != "OPTIONS") return true;
  out.emplace_back("Access-Control-Allow-Methods", "GET, HEAD, POST, OPTIONS");
  // A wildcard would leave out Authorization.
  if (!wanted.empty()) out.emplace_back("Access-Control-Allow-Headers", wanted);
  out.emplace_back("Access-Control-Max-Age", "600");
  return true;
}

}  // namespace pagoda
