#include "server/openai/tool_use.h"

#include <algorithm>

#include <boost/json.hpp>

namespace pagoda {
namespace json = boost::json;

namespace {

bool is_function_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxToolNameBytes && std::ranges::all_of(name, [](char c) {
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_' || c == '-';
  });
}

void read_tool(Fields& fields, const std::string& param, const json::value& value, ToolUse& out) {
  const json::object* tool = value.if_object();
  if (!tool) return fields.fail_with(wrong_type(param, "an object", value));
  Fields inner(*tool, param + ".");
  std::string type = "function";
  inner.string("type", type);
  const json::object* function = inner.object("function");
  if (!inner.error() && type != "function")
    inner.fail_with(
        bad_parameter(param + ".type", "unsupported_value",
                      fmt::format("Invalid '{}.type': only tools of type 'function' are supported.", param)));
  if (!function) inner.fail_with(missing_parameter(param + ".function"));
  if (const auto& error = inner.error()) return fields.fail_with(*error);
  add_function(fields, param + ".function", *function, "parameters", out);
}

void read_named_choice(Fields& fields, const json::object& choice, ToolUse& out) {
  Fields inner(choice, "tool_choice.");
  std::string type;
  inner.string("type", type);
  const json::object* function = inner.object("function");
  std::string name;
  if (type != "function")
    inner.fail_with(bad_parameter("tool_choice.type", "unsupported_value",
                                  "Invalid 'tool_choice.type': only 'function' is supported."));
  if (!function) inner.fail_with(missing_parameter("tool_choice.function"));
  if (const auto& error = inner.error()) return fields.fail_with(*error);
  Fields named(*function, "tool_choice.function.");
  named.string("name", name);
  if (const auto& error = named.error()) return fields.fail_with(*error);
  choose_function(fields, "tool_choice.function.name", std::move(name), out);
}

}  // namespace

void add_function(Fields& fields, const std::string& param, const json::object& function,
                  std::string_view parameters, ToolUse& out) {
  Fields definition(function, param + ".");
  std::string name;
  std::string description;
  bool strict = false;
  definition.string("name", name);
  definition.string("description", description);
  definition.boolean("strict", strict);
  const json::object* schema = definition.object(parameters);
  if (!definition.any("name")) definition.fail_with(missing_parameter(param + ".name"));
  if (!definition.error() && !is_function_name(name))
    definition.fail_with(
        bad_parameter(param + ".name", "invalid_value",
                      fmt::format("Invalid '{}.name': expected 1 to {} letters, digits, '_' and '-'.", param,
                                  kMaxToolNameBytes)));
  if (!definition.error() && std::ranges::find(out.names, name) != out.names.end())
    definition.fail_with(
        bad_parameter(param + ".name", "duplicate_value",
                      fmt::format("Invalid '{}.name': there are two tools named '{}'.", param, name)));
  if (const auto& error = definition.error()) return fields.fail_with(*error);

  json::object copy = function;
  if (parameters != "parameters") copy.erase(parameters);
  copy.erase("type");
  if (schema) copy["parameters"] = *schema;
  out.tools.push_back(json::object{{"type", "function"}, {"function", std::move(copy)}});
  out.names.push_back(std::move(name));
  out.strict.push_back(strict);
}

void choose_function(Fields& fields, const std::string& param, std::string name, ToolUse& out) {
  if (name.empty()) return fields.fail_with(missing_parameter(param));
  if (std::ranges::find(out.names, name) == out.names.end())
    return fields.fail_with(bad_parameter(
        param, "invalid_value", fmt::format("Invalid '{}': there is no tool named '{}'.", param, name)));
  out.choice = ToolUse::Choice::named;
  out.named = std::move(name);
}

void read_choice_word(Fields& fields, const json::value* choice, ToolUse& out) {
  if (!choice) return;
  if (!choice->is_string())
    return fields.fail_with(wrong_type("tool_choice", "a string or an object", *choice));
  if (*choice == "none")
    out.choice = ToolUse::Choice::none;
  else if (*choice == "required")
    out.choice = ToolUse::Choice::required;
  else if (*choice != "auto")
    fields.fail_with(bad_parameter(
        "tool_choice", "invalid_value",
        fmt::format("Invalid 'tool_choice': '{}' is not one of none, auto, required or a named function.",
                    std::string_view(choice->get_string()))));
}

void check_tool_use(Fields& fields, const ToolUse& use) {
  const bool demanded = use.choice == ToolUse::Choice::required || use.choice == ToolUse::Choice::named;
  if (demanded && use.tools.empty())
    fields.fail_with(bad_parameter("tool_choice", "invalid_value",
                                   "'tool_choice' demands a call, but the request offers no 'tools'."));
}

void read_chat_tools(Fields& fields, ToolUse& out) {
  if (const json::array* tools = fields.array("tools")) {
    if (tools->size() > kMaxTools)
      return fields.fail_with(bad_parameter(
          "tools", "array_above_max_length",
          fmt::format("Invalid 'tools': array too long. Expected at most {} tools, but got {} instead.",
                      kMaxTools, tools->size())));
    for (size_t i = 0; i < tools->size() && !fields.error(); ++i)
      read_tool(fields, fmt::format("tools[{}]", i), (*tools)[i], out);
  }
  fields.boolean("parallel_tool_calls", out.parallel);
  const json::value* choice = fields.any("tool_choice");
  if (choice && choice->is_object())
    read_named_choice(fields, choice->get_object(), out);
  else
    read_choice_word(fields, choice, out);
  check_tool_use(fields, out);
}

}  // namespace pagoda
