#include "server/openai/responses_input.h"

#include <utility>

#include <boost/json.hpp>

#include "server/openai/text_parts.h"

namespace pagoda {
namespace json = boost::json;

namespace {

void join(std::string& text, std::string_view more) {
  if (!text.empty()) text += '\n';
  text += more;
}

std::string part_text(Fields& part, const std::string& type) {
  if (type == "input_text" || type == "output_text" || type == "text" || type == "summary_text" ||
      type == "reasoning_text")
    return required_text(part, "text");
  if (type == "refusal") return required_text(part, "refusal");
  const bool media = type == "input_image" || type == "input_file" || type == "input_audio";
  part.fail_with(bad_parameter(
      part.path("type"), media ? "unsupported_value" : "invalid_value",
      media ? fmt::format("Invalid '{}': this model takes text only.", part.path("type"))
            : fmt::format("Invalid '{}': '{}' is not a kind of content part.", part.path("type"), type)));
  return {};
}

std::string read_text_parts(Fields& fields, const char* name) {
  return read_text(fields, name, kOpenAiParts, part_text);
}

class InputReader {
 public:
  explicit InputReader(json::array& out) : out_(out) {}

  void read(Fields& item) {
    std::string type = "message";
    item.string("type", type);
    if (type == "message") return add_message(item);
    if (type == "function_call") return add_call(item);
    if (type == "function_call_output") return add_output(item);
    if (type == "reasoning") return add_reasoning(item);
    item.fail_with(bad_parameter(
        item.path("type"), "unsupported_value",
        fmt::format(
            "Invalid '{}': items of type '{}' are not supported; nothing is kept between requests, so "
            "send messages, function calls, their outputs and reasoning themselves.",
            item.path("type"), type)));
  }

  // Reasoning that nothing follows is dropped: no message could hold it.
 private:
  void add_message(Fields& item) {
    std::string role = required_text(item, "role");
    if (role == "developer") role = "system";
    if (!item.error() && role != "user" && role != "assistant" && role != "system")
      item.fail_with(bad_parameter(item.path("role"), "invalid_value",
                                   fmt::format("Invalid '{}': '{}' is not one of system, developer, user, "
                                               "assistant.",
                                               item.path("role"), role)));
    if (!item.any("content")) item.fail_with(missing_parameter(item.path("content")));
    json::object message{{"role", role}, {"content", read_text_parts(item, "content")}};
    if (role == "assistant") take_reasoning(message);
    out_.push_back(std::move(message));
  }

  void add_call(Fields& item) {
    const std::string id = required_text(item, "call_id");
    const std::string name = required_text(item, "name");
    const std::string text = required_text(item, "arguments");
    boost::system::error_code ec;
    json::value arguments = text.empty() ? json::value(json::object{}) : json::parse(text, ec);
    if (!item.error() && (ec || !arguments.is_object()))
      item.fail_with(bad_parameter(
          item.path("arguments"), "invalid_value",
          fmt::format("Invalid '{}': expected the text of a JSON object.", item.path("arguments"))));
    if (item.error()) return;
    const bool goes_on = !out_.empty() && out_.back().at("role") == "assistant";
    if (!goes_on) out_.push_back(json::object{{"role", "assistant"}, {"content", ""}});
    json::object& message = out_.back().get_object();
    take_reasoning(message);
    if (!message.contains("tool_calls")) message["tool_calls"] = json::array{};
    message["tool_calls"].as_array().push_back(
        json::object{{"id", id},
                     {"type", "function"},
                     {"function", json::object{{"name", name}, {"arguments", std::move(arguments)}}}});
    names_[id] = name;
  }

  void add_output(Fields& item) {
    const std::string id = required_text(item, "call_id");
    if (!item.any("output")) item.fail_with(missing_parameter(item.path("output")));
    json::object message{
        {"role", "tool"}, {"tool_call_id", id}, {"content", read_text_parts(item, "output")}};
    if (const json::value* name = names_.if_contains(id)) message["name"] = *name;
    out_.push_back(std::move(message));
  }

  void add_reasoning(Fields& item) {
    const char* member = item.any("content") ? "content" : "summary";
    if (const std::string text = read_text_parts(item, member); !text.empty()) join(reasoning_, text);
  }

  void take_reasoning(json::object& message) {
    if (!reasoning_.empty()) message["reasoning_content"] = std::exchange(reasoning_, {});
  }

  json::array& out_;
  json::object names_;  // of functions, by the ids of calls
  std::string reasoning_;
};

}  // namespace

void read_response_input(Fields& fields, const json::array& items, json::array& out) {
  if (items.empty())
    return fields.fail_with(
        bad_parameter("input", "empty_array", "Invalid 'input': expected at least one item."));
  InputReader reader(out);
  for (size_t i = 0; i < items.size() && !fields.error(); ++i) {
    const std::string param = fmt::format("input[{}]", i);
    if (!items[i].is_object()) return fields.fail_with(wrong_type(param, "an object", items[i]));
    Fields item(items[i].get_object(), param + ".");
    reader.read(item);
    if (const auto& error = item.error()) fields.fail_with(*error);
  }
  if (!fields.error() && out.empty())
    fields.fail_with(bad_parameter("input", "invalid_value", "Invalid 'input': it holds no message."));
}

}  // namespace pagoda
