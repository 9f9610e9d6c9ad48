// Hermes 2 and 3, Qwen 2.5 and 3: <tool_call>{"name": …, "arguments": {…}}</tool_call>, once per call. Small
// models forget the tags now and then, so a bare call is taken as well.
#include <fmt/format.h>

#include "server/output/json_call_grammar.h"
#include "server/output/json_call_parser.h"
#include "text/constraint.h"

namespace pagoda {
namespace {

constexpr std::string_view kMarkers[] = {"<tool_call>", "</tool_call>"};

bool is_of(std::string_view chat_template) {
  // Qwen3-Coder writes XML between the same tags.
  return chat_template.contains("<tool_call>") && !chat_template.contains("<function=");
}

std::unique_ptr<ToolCallParser> make(ToolCallParserOptions options) {
  return std::make_unique<JsonCallParser>(
      JsonCallSyntax{.open = kMarkers[0], .close = kMarkers[1], .bare = JsonCallSyntax::Bare::yes}, options);
}

std::string grammar(std::span<const CallableFunction> functions, NumCalls num_calls,
                    const MarkerSymbol& symbol) {
  const std::string line_end = lark_literal("\n");
  return calls_rule("tagged", line_end, num_calls) +
         fmt::format("tagged: {} {} call {} {}\n", symbol(kMarkers[0]), line_end, line_end,
                     symbol(kMarkers[1])) +
         json_call_rule(functions, "arguments");
}

std::string free_grammar(std::span<const CallableFunction> functions, NumCalls num_calls,
                         const MarkerSymbol& symbol, std::string_view not_first) {
  return answer_rule({.open = kMarkers[0], .bare = "bare_call", .not_first = not_first}, num_calls, symbol) +
         fmt::format("rest: GAP call GAP {}\nGAP: /\n?/\n", symbol(kMarkers[1])) +
         bare_call_rule(functions, "arguments") + json_call_rule(functions, "arguments");
}

}  // namespace

const ToolCallFormat kHermesCalls{.name = "hermes",
                                  .markers = kMarkers,
                                  .is_of = is_of,
                                  .make = make,
                                  .grammar = grammar,
                                  .free_grammar = free_grammar};

}  // namespace pagoda
