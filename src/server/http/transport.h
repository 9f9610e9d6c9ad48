// A connection's bytes, through TLS where it has that. Internal to http/. The connection and what `ec` and
// the buffers refer to must outlive the call.
#pragma once

#include <cstddef>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>

#include "server/http/connection.h"

namespace pagoda::http {

// At least one byte, or an error; asio::error::eof also where a TLS peer leaves without a word.
boost::asio::awaitable<size_t> read_some(Connection& c, boost::asio::mutable_buffer space,
                                         boost::system::error_code& ec);
// Waits until the client takes some.
boost::asio::awaitable<size_t> write_some(Connection& c, boost::asio::const_buffer bytes,
                                          boost::system::error_code& ec);
// Does not wait: asio::error::would_block if nothing can be written at once.
size_t try_write_some(Connection& c, boost::asio::const_buffer bytes, boost::system::error_code& ec);
// TLS's first and last exchange; nothing on plain connections. The caller sets the time.
boost::asio::awaitable<bool> shake_hands(Connection& c);
boost::asio::awaitable<void> close_tls(Connection& c);

}  // namespace pagoda::http
