// What the HTTP transport asks of the application, free of transport types. All calls come from the I/O
// thread, which must never compute: whatever takes more than a fraction of a millisecond belongs into an
// Operation.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "server/http/message.h"

namespace pagoda {

// An answer that takes time. The transport calls start() once and then poll() after each wake, until poll()
// says `finished`; or abandon(), after which it calls nothing any more.
class Operation {
 public:
  struct Progress {
    std::optional<HttpResponse> answer;       // the whole answer; the last progress
    std::optional<HttpResponse> stream_head;  // once, before or with the first bytes
    std::string bytes;                        // more of the stream's body
    bool finished = false;
  };
  virtual ~Operation() = default;
  // `wake` may be called from any thread, as often as there is news; it never blocks.
  virtual void start(std::function<void()> wake) = 0;
  virtual Progress poll() = 0;
  // The client has gone, or reads too slowly: stop the work and free what it holds.
  virtual void abandon() = 0;
};

using Answer = std::variant<HttpResponse, std::shared_ptr<Operation>>;

// What the transport itself can find wrong with a request.
enum class TransportFault { bad_request, headers_too_large, body_too_large, too_slow };

// For logs and metrics, after the last byte of an answer was written or the client has gone.
struct RequestRecord {
  std::string_view request_id;
  std::string_view method;
  std::string_view path;
  int status = 0;
  int64_t duration_ns = 0;  // from the request's first byte
  uint64_t sent_bytes = 0;  // of the body
  bool client_gone = false;
};

class Handler {
 public:
  virtual ~Handler() = default;
  // Sets request.id. An answer here (wrong path, method or key) is sent without reading the body.
  virtual std::optional<HttpResponse> admit(HttpRequest& head) = 0;
  virtual Answer handle(HttpRequest request) = 0;
  // `detail` is a short English phrase.
  virtual HttpResponse fault(TransportFault fault, std::string_view detail) = 0;
  virtual void record(const RequestRecord& record) = 0;
};

}  // namespace pagoda
