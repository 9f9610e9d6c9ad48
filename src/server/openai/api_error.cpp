#include "server/openai/api_error.h"

#include <boost/json.hpp>

namespace pagoda {
namespace json = boost::json;

ApiError bad_parameter(std::string_view param, std::string_view code, std::string message) {
  return {
      .status = 400, .message = std::move(message), .param = std::string(param), .code = std::string(code)};
}

ApiError unsupported_parameter(std::string_view param, std::string message) {
  return bad_parameter(param, "unsupported_parameter", std::move(message));
}

ApiError model_not_found(std::string_view name) {
  return {.status = 404,
          .message = fmt::format("The model '{}' does not exist or you do not have access to it.", name),
          .param = "model",
          .code = "model_not_found"};
}

ApiError context_overflow(std::string_view prompt_param, int64_t prompt_tokens, int64_t max_context) {
  return bad_parameter(
      prompt_param, "context_length_exceeded",
      fmt::format("This model's maximum context length is {} tokens. However, your prompt is too large: it "
                  "has {} tokens, and at least one must be left to generate. Please shorten the prompt.",
                  max_context, prompt_tokens));
}

ApiError max_tokens_overflow(std::string_view max_tokens_param, int64_t max_tokens, int64_t prompt_tokens,
                             int64_t max_context) {
  return bad_parameter(
      max_tokens_param, "context_length_exceeded",
      fmt::format("This model's maximum context length is {} tokens. However, your prompt has {} tokens and "
                  "'{}' asks "
                  "for {} more ({} in all). Please lower '{}' to at most {}, or shorten the prompt.",
                  max_context, prompt_tokens, max_tokens_param, max_tokens, max_tokens + prompt_tokens,
                  max_tokens_param, max_context - prompt_tokens));
}

ApiError overloaded(int64_t retry_after_seconds) {
  return {.status = 429,
          .message =
              fmt::format("The server's queue is full. Please retry after {} seconds.", retry_after_seconds),
          .type = "rate_limit_error",
          .code = "rate_limit_exceeded",
          .retry_after_seconds = retry_after_seconds};
}

ApiError service_unavailable(std::string_view code, std::string message, int64_t retry_after_seconds) {
  return {.status = 503,
          .message = std::move(message),
          .type = "server_error",
          .code = std::string(code),
          .retry_after_seconds = retry_after_seconds};
}

ApiError to_api_error(const Error& error, std::string_view param) {
  const auto at_fault = param.empty() ? std::nullopt : std::optional<std::string>(param);
  switch (error.code) {
    case ErrorCode::invalid_argument:
      return {.status = 400, .message = error.message, .param = at_fault, .code = "invalid_value"};
    case ErrorCode::unsupported:
      return {.status = 400, .message = error.message, .param = at_fault, .code = "unsupported_value"};
    case ErrorCode::not_found:
      return {.status = 404, .message = error.message, .code = "not_found"};
    case ErrorCode::overloaded:
      return overloaded(1);
    case ErrorCode::cancelled:
      return service_unavailable("shutting_down", "The request was cancelled because the server shuts down.",
                                 0);
    case ErrorCode::corrupt:
    case ErrorCode::out_of_memory:
    case ErrorCode::io:
    case ErrorCode::internal:
      break;
  }
  return {.status = 500, .message = error.message, .type = "server_error", .code = "internal_error"};
}

std::string to_json(const ApiError& error) {
  const auto or_null = [](const std::optional<std::string>& text) {
    return text ? json::value(*text) : json::value(nullptr);
  };
  return json::serialize(json::object{{"error", json::object{{"message", error.message},
                                                             {"type", error.type},
                                                             {"param", or_null(error.param)},
                                                             {"code", or_null(error.code)}}}});
}

HttpResponse to_response(const ApiError& error) {
  HttpResponse response{.status = error.status, .body = to_json(error)};
  if (error.retry_after_seconds > 0)
    response.headers.emplace_back("Retry-After", std::to_string(error.retry_after_seconds));
  if (error.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

}  // namespace pagoda
