// Errors as OpenAI's clients expect them: {"error": {"message", "type", "param", "code"}} under the right
// status.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "server/http/message.h"

namespace pagoda {

struct ApiError {
  int status = 400;
  std::string message;
  std::string type = "invalid_request_error";
  std::optional<std::string> param;  // dotted path of the parameter at fault
  std::optional<std::string> code;
  int64_t retry_after_seconds = 0;  // > 0: sent as Retry-After
};

template <class T>
using ApiResult = std::expected<T, ApiError>;

// 400 about one parameter.
ApiError bad_parameter(std::string_view param, std::string_view code, std::string message);
// Something that the API has and this server does not do (yet).
ApiError unsupported_parameter(std::string_view param, std::string message);
ApiError model_not_found(std::string_view name);
// The prompt alone, or (with max_tokens_param) prompt and max_tokens together, do not fit.
ApiError context_overflow(std::string_view prompt_param, int64_t prompt_tokens, int64_t max_context);
ApiError max_tokens_overflow(std::string_view max_tokens_param, int64_t max_tokens, int64_t prompt_tokens,
                             int64_t max_context);
ApiError overloaded(int64_t retry_after_seconds);
ApiError service_unavailable(std::string_view code, std::string message, int64_t retry_after_seconds);
// An engine's or library's error, by its code. `param`: what is at fault if the request
// is.
ApiError to_api_error(const Error& error, std::string_view param = {});

// {"error": {…}}
std::string to_json(const ApiError& error);
HttpResponse to_response(const ApiError& error);

}  // namespace pagoda
