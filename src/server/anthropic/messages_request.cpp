#include "server/anthropic/messages_request.h"

#include <boost/json.hpp>

#include "server/openai/json_body.h"
#include "server/openai/text_parts.h"

namespace pagoda {
namespace json = boost::json;

namespace {

void join(std::string& text, std::string_view more) {
  if (!text.empty() && !more.empty()) text += '\n';
  text += more;
}

ApiError unknown_block(const Fields& block, std::string_view type) {
  const bool media = type == "image" || type == "document";
  const std::string param = block.path("type");
  return bad_parameter(param, media ? "unsupported_value" : "invalid_value",
                       media ? fmt::format("{}: this model takes text only, no {}s.", param, type)
                             : fmt::format("{}: '{}' is not a kind of block for this place.", param, type));
}

// A string, or an array of text blocks.
std::string read_text_blocks(Fields& fields, std::string_view name) {
  return read_text(fields, name, kAnthropicParts, [](Fields& block, const std::string& type) {
    if (type == "text") return required_text(block, "text");
    block.fail_with(unknown_block(block, type));
    return std::string();
  });
}

// The messages of a conversation, as templates want them.
class Conversation {
 public:
  explicit Conversation(json::array& out) : out_(out) {}

  void add_user(Fields& fields, const std::string& param, const json::array& blocks) {
    std::string text;
    each_part(fields, param, blocks, kAnthropicParts, [&](Fields& block, const std::string& type) {
      if (type == "text") return join(text, required_text(block, "text"));
      if (type != "tool_result") return block.fail_with(unknown_block(block, type));
      if (!text.empty()) add_text("user", std::exchange(text, {}));
      add_result(block);
    });
    if (!text.empty()) add_text("user", text);
  }

  void add_assistant(Fields& fields, const std::string& param, const json::array& blocks) {
    std::string text;
    std::string thinking;
    json::array calls;
    each_part(fields, param, blocks, kAnthropicParts, [&](Fields& block, const std::string& type) {
      if (type == "text")
        join(text, required_text(block, "text"));
      else if (type == "thinking")
        join(thinking, required_text(block, "thinking"));
      else if (type == "tool_use")
        calls.push_back(read_call(block));
      else if (type != "redacted_thinking")
        block.fail_with(unknown_block(block, type));
    });
    json::object message{{"role", "assistant"}, {"content", text}};
    if (!thinking.empty()) message["reasoning_content"] = thinking;
    if (!calls.empty()) message["tool_calls"] = std::move(calls);
    out_.push_back(std::move(message));
  }

  // Consecutive texts of the user are one turn.
  void add_text(std::string_view role, const std::string& text) {
    if (role == "user" && !out_.empty() && out_.back().at("role") == "user") {
      std::string all(out_.back().at("content").as_string());
      join(all, text);
      out_.back().as_object()["content"] = all;
      return;
    }
    out_.push_back(json::object{{"role", role}, {"content", text}});
  }

 private:
  void add_result(Fields& block) {
    std::string id;
    bool is_error = false;
    block.string("tool_use_id", id);
    if (id.empty()) block.fail_with(missing_parameter(block.path("tool_use_id")));
    block.boolean("is_error", is_error);
    json::object message{
        {"role", "tool"}, {"tool_call_id", id}, {"content", read_text_blocks(block, "content")}};
    if (const json::value* name = names_.if_contains(id)) message["name"] = *name;
    out_.push_back(std::move(message));
  }

  json::object read_call(Fields& block) {
    const std::string id = required_text(block, "id");
    const std::string name = required_text(block, "name");
    const json::object* input = block.object("input");
    names_[id] = name;
    return {{"id", id},
            {"type", "function"},
            {"function", json::object{{"name", name}, {"arguments", input ? *input : json::object{}}}}};
  }

  json::array& out_;
  json::object names_;  // of tools, by the ids of calls
};

void read_conversation(Fields& fields, const json::array& messages, ChatRequest& out) {
  if (messages.empty())
    return fields.fail_with(
        bad_parameter("messages", "empty_array", "messages: at least one message is required."));
  Conversation conversation(out.messages);
  std::string_view role;
  for (size_t i = 0; i < messages.size() && !fields.error(); ++i) {
    const std::string param = fmt::format("messages.{}", i);
    const json::object* message = messages[i].if_object();
    if (!message) return fields.fail_with(wrong_type(param, "an object", messages[i]));
    Fields inner(*message, param + ".");
    std::string given_role;
    inner.string("role", given_role);
    role = given_role == "assistant" ? "assistant" : given_role == "user" ? "user" : "";
    const json::value* content = inner.any("content");
    if (!content) inner.fail_with(missing_parameter(param + ".content"));
    if (role.empty())
      inner.fail_with(bad_parameter(param + ".role", "invalid_value",
                                    fmt::format("{}.role: expected 'user' or 'assistant'.", param)));
    if (!inner.error() && content->is_string())
      conversation.add_text(role, std::string(content->get_string()));
    else if (!inner.error() && !content->is_array())
      inner.fail_with(wrong_type(param + ".content", "a string or an array of blocks", *content));
    else if (!inner.error() && role == "user")
      conversation.add_user(inner, param + ".content", content->get_array());
    else if (!inner.error())
      conversation.add_assistant(inner, param + ".content", content->get_array());
    if (const auto& error = inner.error()) fields.fail_with(*error);
  }
  if (fields.error() || out.messages.empty() || role != "assistant") return;
  const json::object& last = out.messages.back().get_object();
  if (last.contains("tool_calls") || last.at("content").get_string().empty()) return;
  out.continue_final_message = true;
  out.add_generation_prompt = false;
}

void read_tools(Fields& fields, ToolUse& out) {
  const json::array* tools = fields.array("tools");
  if (!tools) return;
  if (tools->size() > kMaxTools)
    return fields.fail_with(bad_parameter("tools", "array_above_max_length",
                                          fmt::format("tools: at most {} are allowed.", kMaxTools)));
  for (size_t i = 0; i < tools->size() && !fields.error(); ++i) {
    const std::string param = fmt::format("tools.{}", i);
    const json::object* tool = (*tools)[i].if_object();
    if (!tool) return fields.fail_with(wrong_type(param, "an object", (*tools)[i]));
    Fields inner(*tool, param + ".");
    std::string type = "custom";
    inner.string("type", type);
    if (!inner.error() && type != "custom")
      inner.fail_with(
          bad_parameter(param + ".type", "unsupported_value",
                        fmt::format("{}.type: '{}' is a tool that this server does not have; only "
                                    "'custom' tools are supported.",
                                    param, type)));
    if (const auto& error = inner.error()) return fields.fail_with(*error);
    add_function(fields, param, *tool, "input_schema", out);
  }
}

void read_tool_choice(Fields& fields, ToolUse& out) {
  const json::object* choice = fields.object("tool_choice");
  if (!choice) return;
  Fields inner(*choice, "tool_choice.");
  std::string type;
  std::string name;
  bool only_one = false;
  inner.string("type", type);
  inner.string("name", name);
  inner.boolean("disable_parallel_tool_use", only_one);
  out.parallel = !only_one;
  if (type == "any")
    out.choice = ToolUse::Choice::required;
  else if (type == "none")
    out.choice = ToolUse::Choice::none;
  else if (type == "tool")
    choose_function(inner, "tool_choice.name", std::move(name), out);
  else if (type != "auto")
    inner.fail_with(bad_parameter("tool_choice.type", "invalid_value",
                                  "tool_choice.type: expected 'auto', 'any', 'tool' or 'none'."));
  if (const auto& error = inner.error()) fields.fail_with(*error);
}

void read_thinking(Fields& fields, ChatRequest& out) {
  const json::object* thinking = fields.object("thinking");
  if (!thinking) return;
  Fields inner(*thinking, "thinking.");
  std::string type;
  int64_t budget = 0;
  inner.string("type", type);
  inner.integer("budget_tokens", {.min = 1}, budget);
  if (type != "enabled" && type != "disabled" && type != "adaptive")
    inner.fail_with(bad_parameter("thinking.type", "invalid_value",
                                  "thinking.type: expected 'enabled', 'disabled' or 'adaptive'."));
  if (const auto& error = inner.error()) return fields.fail_with(*error);
  if (type == "adaptive") return;
  out.template_kwargs["enable_thinking"] = type == "enabled";
  out.include_reasoning = type == "enabled";
}

void read_limits(Fields& fields, MessagesPurpose purpose, GenerationRequest& out) {
  fields.integer("max_tokens", {.min = 1}, out.default_max_tokens);
  if (!fields.any("max_tokens") && purpose == MessagesPurpose::generate)
    fields.fail_with(missing_parameter("max_tokens"));
  if (out.engine.num_sequences != 1)
    fields.fail_with(bad_parameter("n", "invalid_value", "n: a message has one answer."));
  const json::array* stops = fields.array("stop_sequences");
  if (!stops) return;
  for (size_t i = 0; i < stops->size() && !fields.error(); ++i) {
    const json::string* text = (*stops)[i].if_string();
    if (!text || text->empty() || text->size() > kMaxStopBytes || i >= kMaxStopStrings)
      fields.fail_with(
          bad_parameter("stop_sequences", "invalid_value",
                        fmt::format("stop_sequences: expected at most {} strings of 1 to {} bytes.",
                                    kMaxStopStrings, kMaxStopBytes)));
    else
      out.engine.stop.emplace_back(*text);
  }
}

// Of the same name as parameters of OpenAI's API, but not of the same kind; nothing depends on them.
std::optional<ApiError> check_accepted(json::object& body) {
  Fields fields(body);
  std::string tier = "auto";
  fields.object("metadata");
  fields.string("service_tier", tier);
  if (tier != "auto" && tier != "standard_only")
    fields.fail_with(
        bad_parameter("service_tier", "invalid_value", "service_tier: expected 'auto' or 'standard_only'."));
  for (const char* name : {"metadata", "service_tier"}) body.erase(name);
  return fields.error();
}

// output_config.format is chat completions' response_format, of JSON schemas only.
void move_output_format(json::object& body) {
  const json::value* config = body.if_contains("output_config");
  const json::value* format =
      config && config->is_object() ? config->get_object().if_contains("format") : nullptr;
  if (!format || format->is_null()) return;
  const json::object* members = format->if_object();
  const json::value* type = members ? members->if_contains("type") : nullptr;
  const json::value* schema = members ? members->if_contains("schema") : nullptr;
  body["response_format"] =
      json::object{{"type", type ? *type : json::value(nullptr)},
                   {"json_schema", json::object{{"schema", schema ? *schema : json::value(nullptr)}}}};
}

void read_output_config(Fields& fields, ChatRequest& out) {
  const json::object* config = fields.object("output_config");
  if (!config) return;
  Fields inner(*config, "output_config.");
  read_effort(inner, "effort", out.template_kwargs);
  inner.object("format");
  if (const auto& error = inner.error()) fields.fail_with(*error);
}

}  // namespace

ApiResult<ChatRequest> parse_messages_request(std::string_view body, const ModelLimits& limits,
                                              MessagesPurpose purpose) {
  ApiResult<json::object> object = parse_json_object(body);
  if (!object) return std::unexpected(std::move(object).error());
  if (auto error = check_accepted(*object)) return std::unexpected(std::move(*error));
  const bool has_foreign_format = object->erase("response_format") > 0;
  move_output_format(*object);
  Fields fields(*object);
  ChatRequest request;
  read_generation_fields(fields, limits, request.generation);
  read_limits(fields, purpose, request.generation);
  read_tools(fields, request.tools);
  read_tool_choice(fields, request.tools);
  check_tool_use(fields, request.tools);
  read_thinking(fields, request);
  read_output_config(fields, request);
  read_reasoning_switches(fields, request);
  if (const json::object* kwargs = fields.object("chat_template_kwargs"))
    for (const auto& [name, value] : *kwargs) request.template_kwargs[name] = value;
  if (std::string system = read_text_blocks(fields, "system"); !system.empty())
    request.messages.push_back(json::object{{"role", "system"}, {"content", std::move(system)}});
  if (const json::array* messages = fields.array("messages"))
    read_conversation(fields, *messages, request);
  else
    fields.fail_with(missing_parameter("messages"));
  if (auto error = finish_reading(fields, request.generation)) return std::unexpected(std::move(*error));
  if (has_foreign_format) request.generation.unread_fields.emplace_back("response_format");
  return request;
}

}  // namespace pagoda
