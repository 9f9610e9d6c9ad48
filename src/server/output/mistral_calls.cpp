// Mistral: [TOOL_CALLS] and a list of calls; from tokenizer version 11 on [TOOL_CALLS]name[ARGS]{…}, once per
// call.
#include "server/output/json_call_parser.h"

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

}  // namespace

const ToolCallFormat kMistralCalls{.name = "mistral", .markers = kMarkers, .is_of = is_of, .make = make};

}  // namespace pagoda
