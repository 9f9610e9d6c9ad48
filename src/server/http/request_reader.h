// Bytes -> one HTTP/1 request, without a socket. Internal to http/: includes Beast.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include "server/http/message.h"

namespace pagoda::http {

class RequestReader {
 public:
  enum class Until { body, end };

  // Errors of put(): header_limit, body_limit, or what is wrong with the request.
  RequestReader(uint32_t header_limit, uint64_t body_limit);

  bool has(Until until) const { return until == Until::body ? parser_.is_header_done() : parser_.is_done(); }
  // Returns how many bytes were taken; with none taken and no error it wants more.
  size_t put(boost::asio::const_buffer bytes, Until until, boost::system::error_code& ec);
  // No more bytes will come. end_of_stream if none had come.
  void put_end(boost::system::error_code& ec);

  // Once the head is there, or put() has found that its body would be too long. Lower-case header names; the
  // target's scheme and host are dropped.
  HttpRequest take_head() const;
  unsigned version() const { return parser_.get().version(); }  // 10 or 11
  // Not after an error.
  bool keep_alive() const { return parser_.get().keep_alive(); }
  bool expects_continue() const;
  // At the end.
  std::string take_body() { return std::move(parser_.get().body()); }

 private:
  boost::beast::http::request_parser<boost::beast::http::string_body> parser_;
};

}  // namespace pagoda::http
