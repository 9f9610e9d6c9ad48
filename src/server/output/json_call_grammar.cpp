#include "server/output/json_call_grammar.h"

#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
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

namespace {

// How a call without a marker begins, in a fence or not, as JsonCallParser takes it.
constexpr std::string_view kBareBegin = R"re(\s*(```json\s*)?\{\s*"(name|arguments|parameters|type|id)")re";

// That of one that can be held to a schema, and no further.
constexpr std::string_view kBareName = R"re(\s*\{\s*"name")re";

// A terminal of text that none of the other expressions matches; one exclusion, since grammars are allowed
// few.
std::string text_terminal(std::string_view name, std::string_view pattern,
                          const std::vector<std::string>& excluded) {
  if (excluded.empty()) return fmt::format("{}: /{}/\n", name, pattern);
  return fmt::format("{}: /{}/ & ~/({})/\n", name, pattern, fmt::join(excluded, "|"));
}

}  // namespace

std::string answer_rule(const CallPlaces& places, NumCalls num_calls, const MarkerSymbol& symbol) {
  const std::string open = symbol(places.open);
  const std::string marker = lark_pattern(places.open);
  // A special token is none of the text's characters; a literal marker ends the terminal of the text before
  // it, since a lexer takes all it can.
  const bool special = open.starts_with('<');
  const std::string opened = special ? "(?s:.*)" : fmt::format("(?s:.*){}", marker);
  const std::string separator = special ? " " + open : "";
  std::vector<std::string> no_marker;   // in text
  std::vector<std::string> one_marker;  // at the end of it
  if (!special) {
    no_marker.push_back(fmt::format("(?s:.*){}(?s:.*)", marker));
    one_marker.push_back(fmt::format("(?s:.*){}(?s:.+)", marker));
  }
  std::vector<std::string> beginnings;  // that the first text does not have
  if (!places.bare.empty()) beginnings.push_back(fmt::format("{}(?s:.*)", kBareBegin));
  if (!places.not_first.empty()) beginnings.push_back(fmt::format("{}(?s:.*)", places.not_first));
  const auto with_beginnings = [&](std::vector<std::string> excluded) {
    excluded.insert(excluded.end(), beginnings.begin(), beginnings.end());
    return excluded;
  };
  const bool goes_on = places.after == CallPlaces::After::text;
  const bool again = goes_on && num_calls == NumCalls::several;
  std::string rules =
      fmt::format("answer: FIRST_TEXT | FIRST_OPENED{} rest{}{}{}\n", separator,
                  again ? fmt::format(" (OPENED{} rest)*", separator) : "", goes_on ? " TEXT" : "",
                  places.bare.empty() ? "" : fmt::format(" | {}", places.bare));
  rules += text_terminal("FIRST_TEXT", "(?s:.*)", with_beginnings(no_marker));
  rules += text_terminal("FIRST_OPENED", opened, with_beginnings(one_marker));
  if (again) rules += text_terminal("OPENED", opened, one_marker);
  if (goes_on) rules += text_terminal("TEXT", "(?s:.*)", no_marker);
  return rules;
}

std::string bare_call_rule(std::span<const CallableFunction> functions, std::string_view arguments) {
  std::string call = "bare_call: BARE_NAME COLON (";
  std::string rules;
  for (size_t i = 0; i < functions.size(); ++i) {
    call += fmt::format("{}bare_{}", i > 0 ? " | " : "", i);
    rules += fmt::format("bare_{0}: {1} COMMA {2} COLON bare_arguments_{0} {3}\nbare_arguments_{0}: {4}\n", i,
                         lark_literal(json::serialize(functions[i].name)),
                         lark_literal(json::serialize(arguments)), lark_literal("}"),
                         lark_json(functions[i].schema));
  }
  return fmt::format("{})\n{}BARE_NAME: /{}/\nCOLON: /: ?/\nCOMMA: /, ?/\n", call, rules, kBareName);
}

std::string calls_rule(std::string_view item, std::string_view separator, NumCalls num_calls) {
  if (num_calls == NumCalls::one) return fmt::format("calls: {}\n", item);
  return fmt::format("calls: {} ({} {}){{0,{}}}\n", item, separator, item, kMaxForcedCalls - 1);
}

}  // namespace pagoda
