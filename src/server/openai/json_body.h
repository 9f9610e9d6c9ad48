// A request body -> a JSON object, with errors that say where.
#pragma once

#include <string_view>

#include <boost/json/object.hpp>

#include "server/openai/api_error.h"

namespace pagoda {

inline constexpr size_t kMaxJsonDepth = 64;

// 400 with line and column for malformed JSON, text that is not UTF-8, nesting beyond kMaxJsonDepth, or a
// body that is not one object.
ApiResult<boost::json::object> parse_json_object(std::string_view body);

}  // namespace pagoda
