#include "server/output/json_call_grammar.h"

#include <fmt/format.h>
#include <boost/json.hpp>

#include "text/constraint.h"

namespace pagoda {
namespace json = boost::json;

namespace {

// References count from the root, which is no longer the schema's own once it is a member of another.
void move_references(json::value& schema, std::string_view to, int depth) {
  constexpr int kMaxDepth = 64;  // deeper schemas are refused later
  if (depth > kMaxDepth) return;
  if (json::array* items = schema.if_array()) {
    for (json::value& item : *items) move_references(item, to, depth + 1);
  } else if (json::object* members = schema.if_object()) {
    for (auto& member : *members) {
      json::string* reference = member.key() == "$ref" ? member.value().if_string() : nullptr;
      if (reference && reference->starts_with('#'))
        *reference = fmt::format("#{}{}", to, std::string_view(*reference).substr(1));
      else
        move_references(member.value(), to, depth + 1);
    }
  }
}

std::string moved_schema(const std::string& text, std::string_view arguments) {
  json::error_code error;
  json::value schema = json::parse(text, error);
  if (error) return text;
  move_references(schema, fmt::format("/properties/{}", arguments), 0);
  return json::serialize(schema);
}

}  // namespace

std::string json_call_rule(std::span<const CallableFunction> functions, std::string_view arguments) {
  std::string call = "call: ";
  std::string rules;
  for (size_t i = 0; i < functions.size(); ++i) {
    // By hand, since the schema is text already and the order of the members is that of the output.
    const std::string schema = fmt::format(
        R"({{"type":"object","properties":{{"name":{{"const":{}}},{}:{}}},"required":["name",{}],)"
        R"("additionalProperties":false}})",
        json::serialize(functions[i].name), json::serialize(arguments),
        moved_schema(functions[i].schema, arguments), json::serialize(arguments));
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
