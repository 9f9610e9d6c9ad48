// HTTP/1.1 over TCP or TLS: one thread that does I/O and nothing else, so that control routes answer while
// the machine computes. Keep-alive and pipelining; Expect: 100-continue; HEAD; chunked requests and answers;
// limits on headers, bodies and on the time that a client may take to send or to read.
//
// While an answer is being made, the socket is read on: its end means that the client has gone, and the
// operation is abandoned. A client that only closes its sending side looks the same and is treated the same.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "server/http/handler.h"

namespace pagoda {

struct HttpOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 0;  // 0: any free one
  uint64_t body_limit = 16u << 20;
  uint32_t header_limit = 16u << 10;
  std::chrono::milliseconds idle_timeout{75'000};    // between requests of a connection
  std::chrono::milliseconds header_timeout{10'000};  // from a request's first byte to the end of its headers
  std::chrono::milliseconds body_timeout{60'000};    // for the whole body
  std::chrono::milliseconds write_timeout{30'000};   // without any progress
  std::chrono::milliseconds stall_timeout{600'000};  // of one answer in all, while its client is behind
  std::string tls_certificate;                       // PEM file, with the chain; empty: plain HTTP
  std::string tls_key;                               // PEM file
  // Of the kernel's memory for a connection: all that is on its way, and of that what waits to leave. The
  // second is what a client that does not read holds here; the first bounds the rate over long ways.
  int send_buffer_bytes = 128 << 10;
  int unsent_bytes = 16 << 10;
};

class HttpServer {
 public:
  // Opens the port; connections are served from start() on. `handler` must outlive the server.
  static Result<std::unique_ptr<HttpServer>> listen(const HttpOptions& options, Handler& handler);
  ~HttpServer();  // cuts what is left

  uint16_t port() const;
  void start();
  // Calls `on_signal` on the I/O thread for SIGINT and SIGTERM.
  void watch_signals(std::function<void(int)> on_signal);
  // No new connections; idle ones are closed, busy ones after their answer. Any thread.
  void begin_drain();
  // Waits until no request is under way; false if the time runs out first.
  bool wait_idle(std::chrono::milliseconds timeout);

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Raises the soft limit of open files to the hard one; returns the limit now in force.
uint64_t raise_open_file_limit();

}  // namespace pagoda
