#include "server/openai/chat_messages.h"

#include <algorithm>
#include <array>

#include <boost/json.hpp>

#include "server/openai/text_parts.h"

namespace pagoda {
namespace json = boost::json;

namespace {

constexpr std::array kRoles = {"system", "developer", "user", "assistant", "tool", "function"};

std::string part_text(Fields& part, const std::string& type) {
  if (type == "text" || type == "refusal") return required_text(part, type);
  const std::string param = part.path("type");
  const char* media = type == "image_url"     ? "images"
                      : type == "input_audio" ? "audio"
                      : type == "video_url"   ? "videos"
                      : type == "file"        ? "files"
                                              : nullptr;
  part.fail_with(
      media ? bad_parameter(param, "unsupported_value",
                            fmt::format("Invalid '{}': this model takes text only, no {}.", param, media))
            : bad_parameter(param, "invalid_value",
                            fmt::format("Invalid '{}': '{}' is not a kind of content part.", param, type)));
  return {};
}

// Templates read a call's arguments as an object; clients send them as the JSON text that the model wrote.
std::optional<ApiError> unpack_arguments(json::value& call, const std::string& param) {
  json::object* outer = call.if_object();
  if (!outer) return wrong_type(param, "an object", call);
  Fields members(*outer, param + ".");
  std::string text;
  for (const char* name : {"id", "type"}) members.string(name, text);
  if (members.error()) return members.error();
  json::value* function = outer->if_contains("function");
  if (!function || !function->is_object()) return missing_parameter(param + ".function");
  Fields fields(function->get_object(), param + ".function.");
  std::string name;
  fields.string("name", name);
  if (fields.error()) return fields.error();
  if (!fields.any("name")) return missing_parameter(param + ".function.name");
  json::value* arguments = function->get_object().if_contains("arguments");
  if (!arguments || !arguments->is_string()) return std::nullopt;
  if (arguments->get_string().empty()) {
    *arguments = json::object{};
    return std::nullopt;
  }
  boost::system::error_code ec;
  json::value parsed = json::parse(arguments->get_string(), ec);
  if (ec || !parsed.is_object())
    return bad_parameter(
        param + ".function.arguments", "invalid_value",
        fmt::format("Invalid '{}.function.arguments': expected the text of a JSON object.", param));
  *arguments = std::move(parsed);
  return std::nullopt;
}

std::optional<ApiError> check_tool_calls(json::object& message, const std::string& param) {
  json::value* calls = message.if_contains("tool_calls");
  if (!calls) return std::nullopt;
  if (calls->is_null() || (calls->is_array() && calls->get_array().empty())) {
    message.erase("tool_calls");
    return std::nullopt;
  }
  if (!calls->is_array()) return wrong_type(param + ".tool_calls", "an array", *calls);
  for (size_t i = 0; i < calls->get_array().size(); ++i)
    if (auto error = unpack_arguments(calls->get_array()[i], fmt::format("{}.tool_calls[{}]", param, i)))
      return error;
  return std::nullopt;
}

std::optional<ApiError> check_role(json::object& message, const std::string& param) {
  Fields fields(message, param + ".");
  std::string role;
  fields.string("role", role);
  if (fields.error()) return fields.error();
  if (role.empty()) return missing_parameter(param + ".role");
  if (std::find(kRoles.begin(), kRoles.end(), role) == kRoles.end())
    return bad_parameter(
        param + ".role", "invalid_value",
        fmt::format("Invalid '{}.role': '{}' is not one of system, developer, user, assistant, tool.", param,
                    role));
  if (role == "developer") message["role"] = "system";
  return std::nullopt;
}

std::optional<ApiError> check_content(json::object& message, const std::string& param) {
  json::value* content = message.if_contains("content");
  if (!content || content->is_null()) {
    if (message.at("role") == "assistant" && message.contains("tool_calls")) return std::nullopt;
    return missing_parameter(param + ".content");
  }
  if (content->is_string()) return std::nullopt;
  Fields fields(message, param + ".");
  const std::string text = read_text(fields, "content", kOpenAiParts, part_text);
  *content = json::string(text);
  return fields.error();
}

// Templates know vLLM's `reasoning` under its older name.
std::optional<ApiError> check_reasoning(json::object& message, const std::string& param) {
  const json::value* reasoning = message.if_contains("reasoning");
  if (!reasoning || reasoning->is_null()) return std::nullopt;
  if (!reasoning->is_string()) return wrong_type(param + ".reasoning", "a string", *reasoning);
  if (!message.contains("reasoning_content"))
    message["reasoning_content"] = json::string(reasoning->get_string());
  return std::nullopt;
}

std::optional<ApiError> normalise(json::object& message, const std::string& param) {
  if (auto error = check_role(message, param)) return error;
  if (auto error = check_reasoning(message, param)) return error;
  if (auto error = check_tool_calls(message, param)) return error;
  return check_content(message, param);
}

}  // namespace

void read_messages(Fields& fields, const json::array& messages, json::array& out) {
  if (messages.empty())
    return fields.fail_with(
        bad_parameter("messages", "empty_array", "Invalid 'messages': expected at least one message."));
  out.reserve(messages.size());
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string param = fmt::format("messages[{}]", i);
    if (!messages[i].is_object()) return fields.fail_with(wrong_type(param, "an object", messages[i]));
    json::object message = messages[i].get_object();
    if (auto error = normalise(message, param)) return fields.fail_with(*error);
    out.push_back(std::move(message));
  }
}

}  // namespace pagoda
