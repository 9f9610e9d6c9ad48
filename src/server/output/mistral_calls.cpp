// Mistral: [TOOL_CALLS] and a list of calls; from tokenizer version 11 on [TOOL_CALLS]name[ARGS]{…}, once per
// call.
#include <fmt/format.h>

#include "server/output/json_call_grammar.h"
#include "server/output/json_call_parser.h"
#include "text/constraint.h"

namespace pagoda {
namespace {

constexpr std::string_view kMarkers[] = {"[TOOL_CALLS]", "[ARGS]"};

bool is_of(std::string_view chat_template) {
  return chat_template.contains(kMarkers[0]);
}

std::unique_ptr<ToolCallParser> make(ToolCallParserOptions options) {
  return std::make_unique<JsonCallParser>(JsonCallSyntax{.open = kMarkers[0],
                                                         .close = {},
                                                         .list_or_name = JsonCallSyntax::ListOrName::yes,
                                                         .name_end = kMarkers[1]},
                                          options);
}

// The rule `list`: a list of calls.
std::string list_rule(std::span<const CallableFunction> functions, NumCalls num_calls) {
  return fmt::format("list: {} items {}\n", lark_literal("["), lark_literal("]")) +
         (num_calls == NumCalls::one
              ? "items: call\n"
              : fmt::format("items: call ({} call){{0,{}}}\n", lark_literal(", "), kMaxForcedCalls - 1)) +
         json_call_rule(functions, "arguments");
}

std::string grammar(std::span<const CallableFunction> functions, NumCalls num_calls,
                    const MarkerSymbol& symbol) {
  return fmt::format("calls: {} list\n", symbol(kMarkers[0])) + list_rule(functions, num_calls);
}

std::string free_grammar(std::span<const CallableFunction> functions, NumCalls num_calls,
                         const MarkerSymbol& symbol, std::string_view not_first) {
  std::string rest = "rest: GAP list";
  std::string named;
  for (size_t i = 0; i < functions.size(); ++i) {
    rest += fmt::format(" | GAP named_{}", i);
    named += fmt::format("named_{}: {} {}? {}\n", i, lark_literal(functions[i].name), symbol(kMarkers[1]),
                         lark_json(functions[i].schema));
  }
  return answer_rule({.open = kMarkers[0], .not_first = not_first}, num_calls, symbol) + rest +
         "\nGAP: / ?/\n" + named + list_rule(functions, num_calls);
}

}  // namespace

const ToolCallFormat kMistralCalls{.name = "mistral",
                                   .markers = kMarkers,
                                   .is_of = is_of,
                                   .make = make,
                                   .grammar = grammar,
                                   .free_grammar = free_grammar};

}  // namespace pagoda
