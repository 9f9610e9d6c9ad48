#include "server/http/message.h"

#include <array>
#include <ctime>

#include <fmt/format.h>

namespace pagoda {
namespace {

void append_value(std::string& out, std::string_view value) {
  for (char c : value)
    if (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) out += c;
}

void append_header(std::string& out, std::string_view name, std::string_view value) {
  out.append(name).append(": ");
  append_value(out, value);
  out += "\r\n";
}

std::string http_date() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  static constexpr std::array kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr std::array kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT", kDays[static_cast<size_t>(utc.tm_wday)],
                     utc.tm_mday, kMonths[static_cast<size_t>(utc.tm_mon)], utc.tm_year + 1900, utc.tm_hour,
                     utc.tm_min, utc.tm_sec);
}

}  // namespace

std::string_view HttpRequest::header(std::string_view name) const {
  for (const auto& [key, value] : headers)
    if (key == name) return value;
  return {};
}

std::string_view reason_phrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 413:
      return "Content Too Large";
    case 417:
      return "Expectation Failed";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 504:
      return "Gateway Timeout";
    case 503:
      return "Service Unavailable";
    default:
      return "Unknown";
  }
}

std::string response_head(const HttpResponse& response, const std::string& request_id, BodyFraming framing,
                          AfterResponse after, uint64_t body_len, const HeaderList& more_headers) {
  std::string head = fmt::format("HTTP/1.1 {} {}\r\n", response.status, reason_phrase(response.status));
  append_header(head, "Date", http_date());
  append_header(head, "Server", "pagoda");
  if (!response.content_type.empty()) append_header(head, "Content-Type", response.content_type);
  if (!request_id.empty()) append_header(head, "X-Request-Id", request_id);
  for (const auto& [name, value] : response.headers) append_header(head, name, value);
  for (const auto& [name, value] : more_headers) append_header(head, name, value);
  if (framing == BodyFraming::length && response.status != 204)
    append_header(head, "Content-Length", fmt::format("{}", body_len));
  if (framing == BodyFraming::chunked) append_header(head, "Transfer-Encoding", "chunked");
  append_header(head, "Connection", after == AfterResponse::close ? "close" : "keep-alive");
  head += "\r\n";
  return head;
}

}  // namespace pagoda
