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

std::string grammar(std::span<const CallableFunction> functions, NumCalls num_calls,
                    const MarkerSymbol& symbol) {
  return calls_rule("list", "", NumCalls::one) +
         fmt::format("list: {} {} items {}\n", symbol(kMarkers[0]), lark_literal("["), lark_literal("]")) +
         (num_calls == NumCalls::one
              ? "items: call\n"
              : fmt::format("items: call ({} call){{0,{}}}\n", lark_literal(", "), kMaxForcedCalls - 1)) +
         json_call_rule(functions, "arguments");
}

}  // namespace

const ToolCallFormat kMistralCalls{
    .name = "mistral", .markers = kMarkers, .is_of = is_of, .make = make, .grammar = grammar};

}  // namespace pagoda
