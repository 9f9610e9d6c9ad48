#include "server/http/request_reader.h"

#include <algorithm>
#include <utility>

#include <boost/beast/http/error.hpp>

namespace pagoda::http {

namespace beast = boost::beast;
using boost::system::error_code;

namespace {

// What the shortest last chunk takes, "0\r\n\r\n". Every chunked message has at least as much to come until
// it is done, and Beast asserts as much when it is handed the last chunk a second time.
constexpr size_t kShortestLastChunk = 5;

// Whether it says where the body ends in a way that is not read here. Beast takes such a request for one
// without a body, and the body for the next request, which whoever wrote the body then chooses (RFC
// 9112, 6.3).
bool has_unknown_coding(const beast::http::fields& message) {
  const auto [begin, end] = message.equal_range(beast::http::field::transfer_encoding);
  return std::any_of(begin, end, [](const auto& field) { return !beast::iequals(field.value(), "chunked"); });
}

}  // namespace

RequestReader::RequestReader(uint32_t header_limit, uint64_t body_limit) {
  parser_.header_limit(header_limit);
  parser_.body_limit(body_limit);
}

size_t RequestReader::put(boost::asio::const_buffer bytes, Until until, error_code& ec) {
  if (parser_.is_header_done() && parser_.chunked() && bytes.size() < kShortestLastChunk) return 0;
  parser_.eager(until == Until::end);
  const bool had_head = parser_.is_header_done();
  const size_t used = parser_.put(bytes, ec);
  if (ec == beast::http::error::need_more) ec = {};
  if (!ec && !had_head && parser_.is_header_done() && has_unknown_coding(parser_.get()))
    ec = beast::http::error::bad_transfer_encoding;
  return used;
}

void RequestReader::put_end(error_code& ec) {
  if (parser_.got_some())
    parser_.put_eof(ec);
  else
    ec = beast::http::error::end_of_stream;
}

HttpRequest RequestReader::take_head() const {
  HttpRequest request;
  const auto& message = parser_.get();
  request.method = std::string(message.method_string());
  std::string_view target(message.target().data(), message.target().size());
  if (const size_t scheme = target.find("://");
      scheme != std::string_view::npos && !target.starts_with('/')) {
    const size_t slash = target.find('/', scheme + 3);
    target = slash == std::string_view::npos ? "/" : target.substr(slash);
  }
  const size_t mark = target.find('?');
  request.path = std::string(target.substr(0, mark));
  if (mark != std::string_view::npos) request.query = std::string(target.substr(mark + 1));
  for (const auto& field : message) {
    std::string name(field.name_string());
    for (char& ch : name)
      if (ch >= 'A' && ch <= 'Z') ch = static_cast<char>(ch - 'A' + 'a');
    request.headers.emplace_back(std::move(name), std::string(field.value()));
  }
  return request;
}

bool RequestReader::expects_continue() const {
  return !parser_.is_done() && beast::iequals(parser_.get()[beast::http::field::expect], "100-continue");
}

}  // namespace pagoda::http
