#include "server/openai/json_body.h"

#include <algorithm>

#include <boost/json.hpp>

namespace pagoda {
namespace json = boost::json;

namespace {

ApiError malformed(std::string_view body, size_t offset, const std::string& reason) {
  const std::string_view before = body.substr(0, std::min(offset, body.size()));
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const size_t line_start = before.rfind('\n') == std::string_view::npos ? 0 : before.rfind('\n') + 1;
  return {.status = 400,
          .message = fmt::format("The request body is not valid JSON: {} at line {}, column {}.", reason,
                                 line, before.size() - line_start + 1),
          .code = "invalid_json"};
}

}  // namespace

ApiResult<json::object> parse_json_object(std::string_view body) {
  json::parse_options options;
  options.max_depth = kMaxJsonDepth;
  json::stream_parser parser({}, options);
  boost::system::error_code ec;
  const size_t consumed = parser.write_some(body.data(), body.size(), ec);
  if (ec) return std::unexpected(malformed(body, consumed, ec.message()));
  if (body.find_first_not_of(" \t\r\n", consumed) != std::string_view::npos)
    return std::unexpected(malformed(body, consumed, "text after the end of the value"));
  parser.finish(ec);
  if (ec) return std::unexpected(malformed(body, body.size(), ec.message()));
  json::value value = parser.release();
  if (!value.is_object())
    return std::unexpected(ApiError{
        .status = 400, .message = "The request body must be a JSON object.", .code = "invalid_type"});
  return std::move(value.as_object());
}

}  // namespace pagoda
