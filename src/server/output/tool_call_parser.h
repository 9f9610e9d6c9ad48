// Finds tool calls in what a model writes. A parser is fed with text as it comes and tells what it is;
// however the text is cut into pieces, the deltas joined are the same. What is no proper call comes out as
// content, so that nothing is lost, and work and memory are linear in the text, whatever it is.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "server/output/output_delta.h"

namespace pagoda {

struct ToolCallParserOptions {
  std::span<const std::string> functions;  // that the request offers; must outlive the parser
  enum class Tell {
    at_once,        // arguments are told while they are written; a call may turn out to be cut short
    when_complete,  // a call that is not complete is content
  } tell = Tell::at_once;
};

class ToolCallParser {
 public:
  virtual ~ToolCallParser() = default;
  virtual void push(std::string_view text, OutputDeltas& out) = 0;
  // At the end of the text.
  virtual void finish(OutputDeltas& out) = 0;
};

// A function that a model can be made to call.
struct CallableFunction {
  std::string name;
  std::string schema;  // of its arguments, JSON text
};
enum class NumCalls { one, several };

// A marker -> how a Lark grammar refers to it: a literal, or a special token.
using MarkerSymbol = std::function<std::string(std::string_view marker)>;

// A way in which models write tool calls.
struct ToolCallFormat {
  std::string_view name;                      // for --tool-call-parser
  std::span<const std::string_view> markers;  // texts of tokens that the parser must see, special or not
  // Whether a chat template (its source) speaks of this format.
  bool (*is_of)(std::string_view chat_template);
  std::unique_ptr<ToolCallParser> (*make)(ToolCallParserOptions options);
  // A Lark grammar's rule `calls`: nothing but calls to these functions, at least one. nullptr: not in this
  // format.
  std::string (*grammar)(std::span<const CallableFunction> functions, NumCalls num_calls,
                         const MarkerSymbol& symbol) = nullptr;
  // A Lark grammar's rule `answer`: any text, but what begins like a call is one to these functions. The text
  // does not begin with what `not_first` (a regular expression, may be empty) matches. nullptr likewise.
  std::string (*free_grammar)(std::span<const CallableFunction> functions, NumCalls num_calls,
                              const MarkerSymbol& symbol, std::string_view not_first) = nullptr;
};

extern const ToolCallFormat kHermesCalls;    // <tool_call>{"name": …, "arguments": {…}}</tool_call>
extern const ToolCallFormat kLlamaCalls;     // {"name": …, "parameters": {…}}, after <|python_tag|> or bare
extern const ToolCallFormat kMistralCalls;   // [TOOL_CALLS][{…}, {…}] or [TOOL_CALLS]name[ARGS]{…}
extern const ToolCallFormat kPythonicCalls;  // [name(a=1), other(b="x")]

std::span<const ToolCallFormat* const> tool_call_formats();
// nullptr if there is none of this name.
const ToolCallFormat* find_tool_call_format(std::string_view name);
// The format that a chat template speaks of, or nullptr.
const ToolCallFormat* detect_tool_call_format(std::string_view chat_template);

}  // namespace pagoda
