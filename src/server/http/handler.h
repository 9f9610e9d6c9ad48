// What the HTTP transport asks of the application, free of transport types. All calls come from the I/O
// thread, which must never compute: whatever takes more than a fraction of a millisecond belongs into an
// Operation.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "server/http/message.h"

namespace pagoda {

// What an operation did, for logs and traces.
struct OperationReport {
  std::string model;  // empty: it has none to do with models
  int64_t num_prompt_tokens = 0;
  int64_t num_cached_tokens = 0;  // of those
  int64_t num_generated_tokens = 0;
  // Of the first prompt; 0 where it has not come so far.
  int64_t submitted_after_ns = 0;  // from the operation's start
  int64_t queued_ns = 0;
  int64_t prefill_ns = 0;
  int64_t decode_ns = 0;
};

// An answer that takes time. The transport calls start() once and then poll() after each wake, until poll()
// says `finished`; or abandon(), after which it calls nothing any more.
class Operation {
 public:
  struct Progress {
    std::optional<HttpResponse> answer;       // the whole answer; the last progress
    std::optional<HttpResponse> stream_head;  // once, before or with the first bytes
    std::string bytes;                        // more of the stream's body
    bool finished = false;
    bool more = false;  // poll() has more to give, without a wake
  };
  virtual ~Operation() = default;
  // `wake` may be called from any thread, as often as there is news; it never blocks.
  virtual void start(std::function<void()> wake) = 0;
  virtual Progress poll() = 0;
  // poll() is also called at this time, if it comes before a wake.
  virtual std::optional<std::chrono::steady_clock::time_point> wake_at() const { return std::nullopt; }
  // The client takes nothing for now: what is made meanwhile has to wait. resume() follows, or abandon().
  virtual void pause() {}
  virtual void resume() {}
  // The client has gone, or reads too slowly: stop the work and free what it holds.
  virtual void abandon() = 0;
  // After the last poll(), or abandon().
  virtual OperationReport report() const { return {}; }
};

using Answer = std::variant<HttpResponse, std::shared_ptr<Operation>>;

// What the transport itself can find wrong with a request.
enum class TransportFault { bad_request, headers_too_large, body_too_large, too_slow };

// For logs and metrics, after the last byte of an answer was written or the client has gone.
struct RequestRecord {
  std::string_view request_id;
  std::string_view method;
  std::string_view path;
  std::string_view trace_parent;  // the header of that name
  std::shared_ptr<Tenant> tenant;
  int status = 0;
  int64_t duration_ns = 0;  // from the request's first byte
  uint64_t sent_bytes = 0;  // of the body
  bool client_gone = false;
  OperationReport report;
};

class Handler {
 public:
  virtual ~Handler() = default;
  // Sets what HttpRequest says, and may shorten the path. An answer here (wrong path, method or key) is sent
  // without reading the body.
  virtual std::optional<HttpResponse> admit(HttpRequest& head) = 0;
  virtual Answer handle(HttpRequest request) = 0;
  // `detail` is a short English phrase; `path` is as admit() left it, empty where the head could not be read.
  virtual HttpResponse fault(TransportFault fault, std::string_view path, std::string_view detail) = 0;
  virtual void record(const RequestRecord& record) = 0;
};

}  // namespace pagoda
