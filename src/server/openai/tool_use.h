// The tools that a request offers, and what it says of their use.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "server/openai/fields.h"

namespace pagoda {

inline constexpr size_t kMaxTools = 128;
inline constexpr size_t kMaxToolNameBytes = 128;

struct ToolUse {
  // none: the model is not told of the tools. required, named: it must call one, or the one in `named`.
  enum class Choice { none, automatic, required, named };

  boost::json::array tools;        // [{"type": "function", "function": {"name", …}}], as templates want them
  std::vector<std::string> names;  // of `tools`
  std::vector<bool> strict;        // of `tools`: the arguments of a call must fit, also if it is free to call
  Choice choice = Choice::automatic;
  std::string named;
  bool parallel = true;  // several calls in one answer

  bool offered() const { return !tools.empty() && choice != Choice::none; }
};

// Adds one function; `param` is the path of `function` in the request, `parameters` its member with the JSON
// schema. Names are letters, digits, "_" and "-", and differ from each other.
void add_function(Fields& fields, const std::string& param, const boost::json::object& function,
                  std::string_view parameters, ToolUse& out);
// 400 unless `name` is among the tools.
void choose_function(Fields& fields, const std::string& param, std::string name, ToolUse& out);
// tool_choice as one of the words none, auto and required; `choice` may be a nullptr.
void read_choice_word(Fields& fields, const boost::json::value* choice, ToolUse& out);
// 400 if the request demands a call and offers no tools. To be called when both are known.
void check_tool_use(Fields& fields, const ToolUse& use);

// tools, tool_choice and parallel_tool_calls of chat completions.
void read_chat_tools(Fields& fields, ToolUse& out);

}  // namespace pagoda
