#include "server/http/http_server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <atomic>
#include <exception>
#include <optional>
#include <thread>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/socket_base.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/log.h"
#include "server/http/connection.h"

namespace pagoda {
namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using http::Connection;
using http::Hub;

namespace {

constexpr std::chrono::milliseconds kAcceptPause{100};
constexpr int kIoNiceness = -10;

void on_coroutine_end(std::exception_ptr failure) {
  if (!failure) return;
  try {
    std::rethrow_exception(failure);
  } catch (const std::exception& e) {
    PAGODA_ERROR("A connection failed: {}", e.what());
  }
}

void configure(tcp::socket& socket, const HttpOptions& options) {
  error_code ec;
  const tcp::no_delay no_delay(true);
  const asio::socket_base::send_buffer_size send_buffer(options.send_buffer_bytes);
  socket.set_option(no_delay, ec);
  socket.set_option(send_buffer, ec);
  ::setsockopt(socket.native_handle(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, &options.unsent_bytes,
               sizeof(options.unsent_bytes));
  socket.non_blocking(true, ec);
}

asio::awaitable<void> accept_loop(std::shared_ptr<Hub> hub, std::shared_ptr<tcp::acceptor> acceptor) {
  asio::steady_timer pause(hub->context);
  bool warned = false;
  while (!hub->draining) {
    tcp::socket socket(hub->context);
    error_code ec;
    co_await acceptor->async_accept(socket, asio::redirect_error(asio::use_awaitable, ec));
    if (ec == asio::error::operation_aborted || hub->draining) break;
    if (ec) {  // out of descriptors, or the client gave up: pause, so that the loop does not spin, and go on
      if (!std::exchange(warned, true)) PAGODA_WARN("Cannot accept a connection: {}", ec.message());
      pause.expires_after(kAcceptPause);
      co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, ec));
      continue;
    }
    warned = false;
    configure(socket, hub->options);
    auto connection = std::make_shared<Connection>(hub, std::move(socket));
    asio::co_spawn(hub->context, http::run_session(std::move(connection)), on_coroutine_end);
  }
}

}  // namespace

struct HttpServer::Impl {
  std::shared_ptr<Hub> hub;
  std::shared_ptr<tcp::acceptor> acceptor;
  uint16_t port = 0;
  std::optional<asio::signal_set> signals;
  std::function<void(int)> on_signal;
  std::optional<asio::executor_work_guard<asio::io_context::executor_type>> work;
  std::thread thread;

  void wait_for_signal() {
    if (!signals) return;
    signals->async_wait([this](error_code ec, int number) {
      if (ec) return;
      on_signal(number);
      wait_for_signal();
    });
  }
  void close_acceptor() {
    error_code ignored;
    acceptor->close(ignored);
  }
  // On the I/O thread.
  void drain() {
    hub->draining = true;
    close_acceptor();
    error_code ignored;
    for (Connection* connection : hub->connections)
      if (connection->idle) connection->socket.cancel(ignored);
  }
  void cut() {
    drain();
    if (signals) signals->cancel();
    error_code ignored;
    for (Connection* connection : hub->connections) connection->socket.close(ignored);
    work.reset();
  }
};

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<HttpServer>> HttpServer::listen(const HttpOptions& options, Handler& handler) {
  auto impl = std::make_unique<Impl>();
  impl->hub = std::make_shared<Hub>(options, handler);
  if (!options.tls_certificate.empty()) {
    PAGODA_TRY(impl->hub->tls, http::load_tls_context(options.tls_certificate, options.tls_key));
  }
  error_code ec;
  tcp::resolver resolver(impl->hub->context);
  const auto addresses =
      resolver.resolve(options.host, std::to_string(options.port), tcp::resolver::passive, ec);
  if (ec || addresses.empty())
    return fail(ErrorCode::invalid_argument, "host '{}' is not an address of this machine: {}", options.host,
                ec.message());
  const tcp::endpoint endpoint = addresses.begin()->endpoint();
  impl->acceptor = std::make_shared<tcp::acceptor>(impl->hub->context);
  impl->acceptor->open(endpoint.protocol(), ec);
  if (!ec) impl->acceptor->set_option(tcp::acceptor::reuse_address(true), ec);
  if (!ec) impl->acceptor->bind(endpoint, ec);
  if (!ec) impl->acceptor->listen(asio::socket_base::max_listen_connections, ec);
  if (ec)
    return fail(ErrorCode::io, "Cannot listen on {}:{}: {}. Choose another port, or stop what uses it.",
                options.host, options.port, ec.message());
  impl->port = impl->acceptor->local_endpoint().port();
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::~HttpServer() {
  if (!impl_->thread.joinable()) return;
  asio::post(impl_->hub->context, [impl = impl_.get()] { impl->cut(); });
  impl_->thread.join();
}

uint16_t HttpServer::port() const {
  return impl_->port;
}

void HttpServer::start() {
  impl_->work.emplace(impl_->hub->context.get_executor());
  asio::co_spawn(impl_->hub->context, accept_loop(impl_->hub, impl_->acceptor), on_coroutine_end);
  impl_->thread = std::thread([hub = impl_->hub] {
    // Ahead of the threads that compute, where we may; this one works for microseconds at a time.
    setpriority(PRIO_PROCESS, 0, kIoNiceness);
    pthread_setname_np(pthread_self(), "pagoda-io");
    hub->context.run();
  });
}

void HttpServer::watch_signals(std::function<void(int)> on_signal) {
  impl_->on_signal = std::move(on_signal);
  impl_->signals.emplace(impl_->hub->context, SIGINT, SIGTERM);
  impl_->wait_for_signal();
}

void HttpServer::begin_drain() {
  asio::post(impl_->hub->context, [impl = impl_.get()] { impl->drain(); });
}

bool HttpServer::wait_idle(std::chrono::milliseconds timeout) {
  return impl_->hub->wait_idle(timeout);
}

uint64_t raise_open_file_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  getrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur;
}

}  // namespace pagoda
