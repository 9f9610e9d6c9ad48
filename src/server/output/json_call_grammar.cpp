#include "server/output/json_call_grammar.h"

#include <fmt/format.h>
#include <boost/json.hpp>

#include "text/constraint.h"

namespace pagoda {
namespace json = boost::json;

std::string json_call_rule(std::span<const CallableFunction> functions, std::string_view arguments) {
  std::string call = "call: ";
  std::string rules;
  for (size_t i = 0; i < functions.size(); ++i) {
    // By hand, since the schema is text already and the order of the members is that of the output.
    const std::string schema = fmt::format(
        R"({{"type":"object","properties":{{"name":{{"const":{}}},{}:{}}},"required":["name",{}],)"
        R"("additionalProperties":false}})",
        json::serialize(functions[i].name), json::serialize(arguments), functions[i].schema,
        json::serialize(arguments));
    call += fmt::format("{}call_{}", i > 0 ? " | " : "", i);
    rules += fmt::format("call_{}: {}\n", i, lark_json(schema));
  }
  return call + "\n" + rules;
}

std::string calls_rule(std::string_view item, std::string_view separator, NumCalls num_calls) {
  if (num_calls == NumCalls::one) return fmt::format("calls: {}\n", item);
  return fmt::format("calls: {} ({} {}){{0,{}}}\n", item, separator, item, kMaxForcedCalls - 1);
}

}  // namespace pagoda
