// Grammars of tool calls written as JSON objects.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "server/output/tool_call_parser.h"

namespace pagoda {

// How many calls one answer can hold, so that a weak model comes to an end.
inline constexpr int kMaxForcedCalls = 16;

// The Lark rule `call`: {"name": …, ARGUMENTS: {…}} for one of the functions, the arguments by its schema.
std::string json_call_rule(std::span<const CallableFunction> functions, std::string_view arguments);
// The Lark rule `calls`: `item`, once or with `separator` (Lark) between them.
std::string calls_rule(std::string_view item, std::string_view separator, NumCalls num_calls);

}  // namespace pagoda
