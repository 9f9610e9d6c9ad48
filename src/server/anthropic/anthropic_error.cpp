#include "server/anthropic/anthropic_error.h"

#include <boost/json.hpp>

namespace pagoda {
namespace json = boost::json;

namespace {

std::string_view error_type(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 413:
      return "request_too_large";
    case 429:
      return "rate_limit_error";
    case 503:
      return "overloaded_error";
    case 504:
      return "timeout_error";
    default:
      return status >= 500 ? "api_error" : "invalid_request_error";
  }
}

std::string body_of(int status, std::string_view message) {
  return json::serialize(json::object{
      {"type", "error"}, {"error", json::object{{"type", error_type(status)}, {"message", message}}}});
}

}  // namespace

std::string to_anthropic_json(const ApiError& error) {
  return body_of(error.status, error.message);
}

HttpResponse to_anthropic_error(HttpResponse response) {
  boost::system::error_code ec;
  const json::value body = json::parse(response.body, ec);
  if (ec || !body.is_object()) return response;
  const json::value* error = body.get_object().if_contains("error");
  const json::object* members = error ? error->if_object() : nullptr;
  const json::value* message = members ? members->if_contains("message") : nullptr;
  if (message && message->is_string()) response.body = body_of(response.status, message->get_string());
  return response;
}

}  // namespace pagoda
