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

// The Lark rule `bare_call`: the same without a marker, in text. It begins with a terminal that text does not
// have, since a lexer cannot tell it from text later on.
std::string bare_call_rule(std::span<const CallableFunction> functions, std::string_view arguments);

// What stands where in text that may hold calls.
struct CallPlaces {
  std::string_view open;       // the marker before a call
  std::string_view bare = {};  // a rule that begins with a bare_call, for the whole answer; empty: none
  enum class After { text, nothing } after = After::text;  // calls
  std::string_view not_first = {};                         // as in ToolCallFormat::free_grammar
};
// The Lark rule `answer`: text in which the rule `rest` follows every `open`.
std::string answer_rule(const CallPlaces& places, NumCalls num_calls, const MarkerSymbol& symbol);

}  // namespace pagoda
