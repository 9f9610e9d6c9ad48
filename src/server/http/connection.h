// One TCP connection and what all connections share. Internal to http/: includes Asio. Everything here runs
// on the I/O thread, except where a member says otherwise.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_set>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>

#include "server/http/handler.h"
#include "server/http/http_server.h"
#include "server/http/tls.h"

namespace pagoda::http {

struct Connection;

// Shared by the server and its connections, and kept alive by each of them.
struct Hub {
  Hub(const HttpOptions& o, Handler& h) : options(o), handler(h) {}

  boost::asio::io_context context{1};
  const HttpOptions options;
  Handler& handler;
  std::unique_ptr<boost::asio::ssl::context> tls;  // null: plain HTTP
  std::unordered_set<Connection*> connections;
  bool draining = false;

  // Counts requests under way; wait_idle may be called from any thread.
  void enter_request();
  void leave_request();
  bool wait_idle(std::chrono::milliseconds timeout);

 private:
  std::mutex mutex_;
  std::condition_variable idle_;
  size_t num_requests_ = 0;
};

struct Connection : std::enable_shared_from_this<Connection> {
  Connection(std::shared_ptr<Hub> h, boost::asio::ip::tcp::socket s);
  ~Connection();

  // Cancels the socket's pending operations after `time`, unless disarmed or armed anew.
  void arm(std::chrono::milliseconds time);
  void disarm();
  // A function for any thread that lets the operation be polled. It never owns the connection, not even for a
  // moment: connections end on the I/O thread only.
  std::function<void()> waker();

  std::shared_ptr<Hub> hub;  // first, so that the io_context outlives socket and timers
  boost::asio::ip::tcp::socket socket;
  std::unique_ptr<TlsStream> tls;    // over `socket`; null: plain
  boost::beast::flat_buffer buffer;  // received, not yet parsed
  boost::asio::steady_timer deadline;
  boost::asio::steady_timer news;  // expires when the operation wants; cancelled when has_news is set
  bool has_news = false;
  bool timed_out = false;  // of the last arm()
  bool idle = false;       // between requests

 private:
  uint64_t generation_ = 0;  // of arm(): a timer that fires late is told from the current one
};

// A buffer holds at most one head, or pipelined requests up to this much.
inline constexpr size_t kBufferLimit = 128u << 10;

// Serves requests until the connection closes.
boost::asio::awaitable<void> run_session(std::shared_ptr<Connection> connection);

}  // namespace pagoda::http
