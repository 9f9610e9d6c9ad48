// Coroutines; session.cpp says what GCC 12 wants of them.
#include "server/http/transport.h"

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace pagoda::http {

namespace asio = boost::asio;
using asio::awaitable;
using asio::redirect_error;
using asio::use_awaitable;
using boost::system::error_code;

awaitable<size_t> read_some(Connection& c, asio::mutable_buffer space, error_code& ec) {
  size_t received = 0;
  if (c.tls)
    received = co_await c.tls->async_read_some(space, redirect_error(use_awaitable, ec));
  else
    received = co_await c.socket.async_read_some(space, redirect_error(use_awaitable, ec));
  if (ec == asio::ssl::error::stream_truncated) ec = asio::error::eof;
  co_return received;
}

awaitable<size_t> write_some(Connection& c, asio::const_buffer bytes, error_code& ec) {
  size_t written = 0;
  if (c.tls)
    written = co_await c.tls->async_write_some(bytes, redirect_error(use_awaitable, ec));
  else
    written = co_await c.socket.async_write_some(bytes, redirect_error(use_awaitable, ec));
  co_return written;
}

size_t try_write_some(Connection& c, asio::const_buffer bytes, error_code& ec) {
  if (!c.tls) return c.socket.write_some(bytes, ec);
  ec = asio::error::would_block;
  return 0;
}

awaitable<bool> shake_hands(Connection& c) {
  if (!c.tls) co_return true;
  error_code ec;
  co_await c.tls->async_handshake(asio::ssl::stream_base::server, redirect_error(use_awaitable, ec));
  co_return !ec;
}

awaitable<void> close_tls(Connection& c) {
  if (!c.tls) co_return;
  error_code ignored;
  co_await c.tls->async_shutdown(redirect_error(use_awaitable, ignored));
}

}  // namespace pagoda::http
