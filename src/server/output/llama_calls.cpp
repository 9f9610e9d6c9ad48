// Llama 3.1 and later: {"name": …, "parameters": {…}} as the whole answer, sometimes after <|python_tag|>;
// further calls after ";".
#include <fmt/format.h>

#include "server/output/json_call_grammar.h"
#include "server/output/json_call_parser.h"
#include "text/constraint.h"

namespace pagoda {
namespace {

constexpr std::string_view kMarkers[] = {"<|python_tag|>"};

bool is_of(std::string_view chat_template) {
  return chat_template.contains("<|python_tag|>") ||
         chat_template.contains(R"("parameters": dictionary of argument name)") ||
         (chat_template.contains("<|start_header_id|>") && chat_template.contains(R"("parameters": )"));
}

std::unique_ptr<ToolCallParser> make(ToolCallParserOptions options) {
  return std::make_unique<JsonCallParser>(
      JsonCallSyntax{.open = kMarkers[0], .close = {}, .bare = JsonCallSyntax::Bare::yes}, options);
}

std::string grammar(std::span<const CallableFunction> functions, NumCalls num_calls, const MarkerSymbol&) {
  return calls_rule("call", lark_literal("; "), num_calls) + json_call_rule(functions, "parameters");
}

std::string free_grammar(std::span<const CallableFunction> functions, NumCalls num_calls,
                         const MarkerSymbol& symbol, std::string_view not_first) {
  const CallPlaces places{
      .open = kMarkers[0], .bare = "bare", .after = CallPlaces::After::nothing, .not_first = not_first};
  const std::string more = num_calls == NumCalls::one
                               ? std::string()
                               : fmt::format(" ({} call){{0,{}}}", lark_literal("; "), kMaxForcedCalls - 1);
  return answer_rule(places, num_calls, symbol) + fmt::format("rest: calls\nbare: bare_call{}\n", more) +
         bare_call_rule(functions, "parameters") + grammar(functions, num_calls, symbol);
}

}  // namespace

const ToolCallFormat kLlamaCalls{.name = "llama3_json",
                                 .markers = kMarkers,
                                 .is_of = is_of,
                                 .make = make,
                                 .grammar = grammar,
                                 .free_grammar = free_grammar};

}  // namespace pagoda
