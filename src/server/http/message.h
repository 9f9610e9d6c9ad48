// HTTP messages as the application sees them: plain strings, no transport types.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pagoda {

class Tenant;

using HeaderList = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;  // upper case
  std::string path;    // without the query
  std::string query;   // without '?'
  HeaderList headers;  // names in lower case
  std::string body;
  std::string id;                  // from X-Request-Id, or generated; set by Handler::admit
  std::shared_ptr<Tenant> tenant;  // who sent it; set by Handler::admit
  HeaderList response_headers;     // of whatever answers it; set by Handler::admit

  // The first header of that (lower-case) name; empty if absent.
  std::string_view header(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  HeaderList headers;  // beside Content-Type, Content-Length, Date and the connection's own
  std::string body;
};

std::string_view reason_phrase(int status);

// How the end of a body is marked.
enum class BodyFraming {
  length,    // Content-Length of response.body
  chunked,   // HTTP/1.1 streams
  at_close,  // HTTP/1.0 streams: the body ends with the connection
};

enum class AfterResponse { keep_alive, close };

// Status line and headers up to and with the empty line. `body_len` counts for BodyFraming::length only.
// Header values lose control characters, so that nothing a client sent can add a header.
std::string response_head(const HttpResponse& response, const std::string& request_id, BodyFraming framing,
                          AfterResponse after, uint64_t body_len, const HeaderList& more_headers = {});

}  // namespace pagoda
