#include "server/http/connection.h"

#include <boost/asio/post.hpp>

namespace pagoda::http {
namespace asio = boost::asio;
using boost::system::error_code;

void Hub::enter_request() {
  std::lock_guard lock(mutex_);
  ++num_requests_;
}

void Hub::leave_request() {
  {
    std::lock_guard lock(mutex_);
    --num_requests_;
  }
  idle_.notify_all();
}

bool Hub::wait_idle(std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  return idle_.wait_for(lock, timeout, [this] { return num_requests_ == 0; });
}

Connection::Connection(std::shared_ptr<Hub> h, asio::ip::tcp::socket s)
    : hub(std::move(h)),
      socket(std::move(s)),
      buffer(kBufferLimit),
      deadline(hub->context),
      news(hub->context) {
  if (hub->tls) tls = std::make_unique<TlsStream>(socket, *hub->tls);
  hub->connections.insert(this);
}

Connection::~Connection() {
  hub->connections.erase(this);
}

void Connection::arm(std::chrono::milliseconds time) {
  timed_out = false;
  deadline.expires_after(time);
  deadline.async_wait([self = weak_from_this(), generation = ++generation_](error_code ec) {
    const auto connection = self.lock();
    if (ec || !connection || connection->generation_ != generation) return;
    connection->timed_out = true;
    error_code ignored;
    connection->socket.cancel(ignored);
  });
}

void Connection::disarm() {
  ++generation_;
  deadline.cancel();
}

std::function<void()> Connection::waker() {
  return [shared = hub, self = weak_from_this()] {
    asio::post(shared->context, [self] {
      const auto connection = self.lock();
      if (!connection) return;
      connection->has_news = true;
      connection->news.cancel();
    });
  };
}

}  // namespace pagoda::http
