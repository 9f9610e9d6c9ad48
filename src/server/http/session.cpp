// The coroutines that serve a connection. Rules that keep GCC 12 from miscompiling them: coroutines are free
// functions; no capturing lambda and no braced temporary inside a co_await expression; no co_await within ?:,
// && or ||.
#include <algorithm>
#include <string>
#include <utility>
#include <variant>

#include <fmt/format.h>
#include <boost/asio/buffer.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/http/error.hpp>

#include "server/http/connection.h"
#include "server/http/request_reader.h"
#include "server/http/transport.h"

namespace pagoda::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using asio::awaitable;
using asio::redirect_error;
using asio::use_awaitable;
using boost::system::error_code;
using SteadyTime = std::chrono::steady_clock::time_point;

constexpr size_t kReadSize = 512;  // grows by need: idle streams are many
constexpr size_t kHeadReadSize = 2u << 10;
constexpr size_t kBodyReadSize = 64u << 10;
constexpr size_t kMaxPipelined = 64u << 10;  // bytes taken in while an answer is being made
constexpr size_t kMaxDiscarded = 1u << 20;   // bytes read and dropped so that a refusal reaches a busy sender
constexpr std::chrono::milliseconds kLingerTime{2000};

enum class Outcome { keep_alive, close, gone };

// What is known of the request being answered.
struct Exchange {
  std::string id;
  std::string method;
  std::string path;
  std::string trace_parent;
  std::shared_ptr<Tenant> tenant;
  HeaderList headers;  // of every answer
  unsigned version = 11;
  AfterResponse after = AfterResponse::keep_alive;
  SteadyTime start = std::chrono::steady_clock::now();
  SteadyTime operation_start = start;
  int status = 0;
  uint64_t sent_bytes = 0;
  std::chrono::steady_clock::duration stalled{};  // time spent waiting for the client to read
  OperationReport report;
};

// Counts as a request under way while in scope.
class RequestScope {
 public:
  explicit RequestScope(Hub& hub) : hub_(hub) { hub_.enter_request(); }
  ~RequestScope() { hub_.leave_request(); }
  RequestScope(const RequestScope&) = delete;
  RequestScope& operator=(const RequestScope&) = delete;

 private:
  Hub& hub_;
};

void record(Hub& hub, Exchange& exchange, Outcome outcome) {
  const auto duration = std::chrono::steady_clock::now() - exchange.start;
  hub.handler.record({.request_id = exchange.id,
                      .method = exchange.method,
                      .path = exchange.path,
                      .trace_parent = exchange.trace_parent,
                      .tenant = exchange.tenant,
                      .status = exchange.status,
                      .duration_ns = std::chrono::nanoseconds(duration).count(),
                      .sent_bytes = exchange.sent_bytes,
                      .client_gone = outcome == Outcome::gone,
                      .report = std::move(exchange.report)});
}

// False if the client has gone, took nothing for write_timeout, or has kept its answer waiting for longer
// than stall_timeout in all: one that reads at a trickle must not hold on for ever. `operation` is paused
// while the client takes nothing.
awaitable<bool> write_all(Connection& c, Exchange& exchange, std::string_view bytes,
                          Operation* operation = nullptr) {
  bool paused = false;
  while (!bytes.empty()) {
    error_code ec;
    size_t written = try_write_some(c, asio::buffer(bytes.data(), bytes.size()), ec);
    if (ec == asio::error::would_block) {
      if (operation && !std::exchange(paused, true)) operation->pause();
      const SteadyTime begin = std::chrono::steady_clock::now();
      const auto left = c.hub->options.stall_timeout - exchange.stalled;
      c.arm(std::min(c.hub->options.write_timeout, std::chrono::ceil<std::chrono::milliseconds>(left)));
      const asio::const_buffer rest(bytes.data(), bytes.size());
      written = co_await write_some(c, rest, ec);
      c.disarm();
      exchange.stalled += std::chrono::steady_clock::now() - begin;
    }
    if (ec) co_return false;
    bytes.remove_prefix(written);
  }
  if (paused) operation->resume();
  co_return true;
}

awaitable<Outcome> write_response(Connection& c, Exchange& exchange, const HttpResponse& response) {
  exchange.status = response.status;
  if (c.hub->draining) exchange.after = AfterResponse::close;
  std::string out = response_head(response, exchange.id, BodyFraming::length, exchange.after,
                                  response.body.size(), exchange.headers);
  if (exchange.method != "HEAD") {
    out += response.body;
    exchange.sent_bytes += response.body.size();
  }
  const bool written = co_await write_all(c, exchange, out);
  if (!written) co_return Outcome::gone;
  co_return exchange.after == AfterResponse::close ? Outcome::close : Outcome::keep_alive;
}

// The bytes of a stream, framed.
class StreamWriter {
 public:
  explicit StreamWriter(const Exchange& exchange)
      : framing_(exchange.version >= 11 ? BodyFraming::chunked : BodyFraming::at_close) {}

  BodyFraming framing() const { return framing_; }
  void append(std::string& out, std::string_view bytes) const {
    if (bytes.empty()) return;
    out.reserve(out.size() + bytes.size() + kFrameBytes);
    if (framing_ == BodyFraming::chunked) fmt::format_to(std::back_inserter(out), "{:x}\r\n", bytes.size());
    out += bytes;
    if (framing_ == BodyFraming::chunked) out += "\r\n";
  }
  void end(std::string& out) const {
    if (framing_ == BodyFraming::chunked) out += "0\r\n\r\n";
  }

 private:
  static constexpr size_t kFrameBytes = 32;  // of a chunk, and of the last one

  BodyFraming framing_;
};

awaitable<void> wait_for_news(Connection& c, SteadyTime wake_at) {
  c.news.expires_at(wake_at);
  while (!c.has_news) {
    error_code ec;
    co_await c.news.async_wait(redirect_error(use_awaitable, ec));
    if (!ec) break;
  }
  c.has_news = false;
}

// Polls the operation and writes what it gives until it has finished.
awaitable<Outcome> produce(Connection& c, Operation& operation, Exchange& exchange) {
  const StreamWriter stream(exchange);
  for (;;) {
    Operation::Progress progress = operation.poll();
    if (progress.answer) {
      const Outcome outcome = co_await write_response(c, exchange, *progress.answer);
      co_return outcome;
    }
    std::string out;
    if (progress.stream_head) {
      exchange.status = progress.stream_head->status;
      if (stream.framing() == BodyFraming::at_close || c.hub->draining) exchange.after = AfterResponse::close;
      out = response_head(*progress.stream_head, exchange.id, stream.framing(), exchange.after, 0,
                          exchange.headers);
    }
    stream.append(out, progress.bytes);
    exchange.sent_bytes += progress.bytes.size();
    std::string().swap(progress.bytes);  // a client that does not read keeps `out` only
    if (progress.finished) stream.end(out);
    const bool written = co_await write_all(c, exchange, out, &operation);
    if (!written) co_return Outcome::gone;
    if (progress.finished) break;
    if (progress.more) continue;
    co_await wait_for_news(c, operation.wake_at().value_or(SteadyTime::max()));
  }
  co_return exchange.after == AfterResponse::close ? Outcome::close : Outcome::keep_alive;
}

// Reads on while an answer is being made; returns when the client has gone. Pipelined bytes stay in the
// buffer, and when that is full, a client that leaves is noticed by the next write only.
awaitable<void> watch(Connection& c) {
  while (c.buffer.size() < kMaxPipelined) {
    error_code ec;
    const auto space = c.buffer.prepare(kReadSize);
    const size_t received = co_await read_some(c, space, ec);
    if (ec) co_return;
    c.buffer.commit(received);
  }
  asio::steady_timer never(c.hub->context);
  never.expires_at(asio::steady_timer::time_point::max());
  error_code ec;
  co_await never.async_wait(redirect_error(use_awaitable, ec));
}

awaitable<Outcome> run_operation(Connection& c, std::shared_ptr<Operation> operation, Exchange& exchange) {
  using namespace asio::experimental::awaitable_operators;
  c.buffer.shrink_to_fit();
  c.has_news = true;
  exchange.operation_start = std::chrono::steady_clock::now();
  operation->start(c.waker());
  auto both = produce(c, *operation, exchange) || watch(c);
  const std::variant<Outcome, std::monostate> result = co_await std::move(both);
  const Outcome outcome = result.index() == 0 ? std::get<0>(result) : Outcome::gone;
  if (outcome == Outcome::gone) operation->abandon();
  exchange.report = operation->report();
  const auto before = exchange.operation_start - exchange.start;
  exchange.report.submitted_after_ns += std::chrono::nanoseconds(before).count();
  co_return outcome;
}

// Reads a request up to its body, or to its end.
awaitable<void> read_request(Connection& c, RequestReader& reader, RequestReader::Until until,
                             error_code& ec) {
  while (!reader.has(until)) {
    if (c.buffer.size() > 0) {
      const size_t used = reader.put(c.buffer.data(), until, ec);
      c.buffer.consume(used);
      if (ec) co_return;
      if (used > 0) continue;
    }
    const size_t room = kBufferLimit - c.buffer.size();
    if (room == 0) ec = beast::http::error::buffer_overflow;
    if (ec) co_return;
    const size_t wanted = until == RequestReader::Until::body ? kHeadReadSize : kBodyReadSize;
    const auto space = c.buffer.prepare(std::min(room, wanted));
    const size_t received = co_await read_some(c, space, ec);
    if (ec == asio::error::eof) {
      ec = {};
      reader.put_end(ec);
      co_return;
    }
    if (ec) co_return;
    c.buffer.commit(received);
  }
}

// What a failed read means: nothing to answer when the connection itself has failed.
std::optional<TransportFault> fault_of(const Connection& c, const error_code& ec) {
  using beast::http::error;
  if (c.timed_out) return TransportFault::too_slow;
  if (ec == error::header_limit || ec == error::buffer_overflow) return TransportFault::headers_too_large;
  if (ec == error::body_limit) return TransportFault::body_too_large;
  if (ec == error::end_of_stream || ec == error::partial_message) return std::nullopt;
  if (ec.category() == make_error_code(error::bad_method).category()) return TransportFault::bad_request;
  return std::nullopt;
}

// Answers a request that could not be read; the connection cannot go on after it.
awaitable<Outcome> refuse(Connection& c, Exchange& exchange, error_code ec) {
  const std::optional<TransportFault> fault = fault_of(c, ec);
  if (!fault) co_return Outcome::gone;
  exchange.after = AfterResponse::close;
  const HttpResponse response = c.hub->handler.fault(*fault, exchange.path, ec.message());
  const Outcome outcome = co_await write_response(c, exchange, response);
  record(*c.hub, exchange, outcome);
  co_return outcome;
}

// The rest of a request after its head: 100-continue, the body, the answer.
awaitable<Outcome> serve_body(Connection& c, RequestReader& reader, HttpRequest request, Exchange& exchange) {
  if (reader.expects_continue()) {
    const bool written = co_await write_all(c, exchange, "HTTP/1.1 100 Continue\r\n\r\n");
    if (!written) co_return Outcome::gone;
  }
  error_code ec;
  c.arm(c.hub->options.body_timeout);
  co_await read_request(c, reader, RequestReader::Until::end, ec);
  c.disarm();
  if (ec) {
    const Outcome refused = co_await refuse(c, exchange, ec);
    co_return refused;
  }
  request.body = reader.take_body();
  Answer answer = c.hub->handler.handle(std::move(request));
  Outcome outcome = Outcome::gone;
  if (HttpResponse* response = std::get_if<HttpResponse>(&answer)) {
    outcome = co_await write_response(c, exchange, *response);
  } else {
    std::shared_ptr<Operation> operation = std::get<std::shared_ptr<Operation>>(answer);
    outcome = co_await run_operation(c, std::move(operation), exchange);
  }
  record(*c.hub, exchange, outcome);
  co_return outcome;
}

awaitable<Outcome> serve_request(Connection& c) {
  const RequestScope scope(*c.hub);
  Exchange exchange;
  RequestReader reader(c.hub->options.header_limit, c.hub->options.body_limit);
  error_code ec;
  c.arm(c.hub->options.header_timeout);
  co_await read_request(c, reader, RequestReader::Until::body, ec);
  c.disarm();
  // A whole head, which says that too long a body follows: whose request it is still matters.
  const bool too_large = ec == beast::http::error::body_limit;
  if (ec && !too_large) {
    const Outcome refused = co_await refuse(c, exchange, ec);
    co_return refused;
  }
  HttpRequest request = reader.take_head();
  exchange.version = reader.version();
  if (too_large || !reader.keep_alive()) exchange.after = AfterResponse::close;
  std::optional<HttpResponse> refusal = c.hub->handler.admit(request);
  exchange.id = request.id;
  exchange.method = request.method;
  exchange.path = request.path;
  exchange.trace_parent = std::string(request.header("traceparent"));
  exchange.tenant = request.tenant;
  exchange.headers = std::move(request.response_headers);
  if (refusal) {
    if (!reader.has(RequestReader::Until::end)) exchange.after = AfterResponse::close;
    const Outcome outcome = co_await write_response(c, exchange, *refusal);
    record(*c.hub, exchange, outcome);
    co_return outcome;
  }
  if (too_large) {
    const Outcome refused = co_await refuse(c, exchange, ec);
    co_return refused;
  }
  const Outcome outcome = co_await serve_body(c, reader, std::move(request), exchange);
  co_return outcome;
}

// Waits for the first byte of the next request; false when there will be none.
awaitable<bool> wait_for_request(Connection& c) {
  if (c.buffer.size() > 0) co_return true;
  if (c.hub->draining) co_return false;
  c.buffer.shrink_to_fit();
  c.idle = true;
  c.arm(c.hub->options.idle_timeout);
  error_code ec;
  const auto space = c.buffer.prepare(kReadSize);
  const size_t received = co_await read_some(c, space, ec);
  c.disarm();
  c.idle = false;
  c.buffer.commit(received);
  co_return !ec;
}

// TLS's goodbye; then sends our end of stream and drops what still comes in for a while: closing at once
// could destroy an answer that the client has not read yet.
awaitable<void> linger(Connection& c) {
  c.arm(kLingerTime);
  if (c.tls) {
    // Drops what comes in meanwhile, too.
    co_await close_tls(c);
    c.disarm();
    co_return;
  }
  error_code ec;
  c.socket.shutdown(asio::ip::tcp::socket::shutdown_send, ec);
  c.buffer.clear();
  for (size_t discarded = 0; !ec && discarded < kMaxDiscarded;) {
    const auto space = c.buffer.prepare(16u << 10);
    discarded += co_await read_some(c, space, ec);
  }
  c.disarm();
}

}  // namespace

awaitable<void> run_session(std::shared_ptr<Connection> connection) {
  Connection& c = *connection;
  c.arm(c.hub->options.header_timeout);
  const bool shaken = co_await shake_hands(c);
  c.disarm();
  Outcome outcome = shaken ? Outcome::keep_alive : Outcome::gone;
  while (outcome == Outcome::keep_alive) {
    const bool more = co_await wait_for_request(c);
    if (!more) break;
    outcome = co_await serve_request(c);
  }
  if (outcome == Outcome::close) co_await linger(c);
  error_code ignored;
  c.socket.close(ignored);
}

}  // namespace pagoda::http
