// The server's certificate and key. Internal to http/: includes Asio.
#pragma once

#include <memory>
#include <string>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>

#include "base/result.h"

namespace pagoda::http {

using TlsStream = boost::asio::ssl::stream<boost::asio::ip::tcp::socket&>;

// TLS 1.2 and 1.3. The errors name the file that is missing, unreadable, locked by a passphrase or does not
// match.
Result<std::unique_ptr<boost::asio::ssl::context>> load_tls_context(const std::string& certificate_file,
                                                                    const std::string& key_file);

}  // namespace pagoda::http
