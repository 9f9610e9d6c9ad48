#include "server/openai/responses_request.h"

#include <algorithm>
#include <array>

#include <boost/json.hpp>

#include "server/openai/json_body.h"
#include "server/openai/responses_input.h"

namespace pagoda {
namespace json = boost::json;

namespace {

void read_tools(Fields& fields, ToolUse& out) {
  const json::array* tools = fields.array("tools");
  if (!tools) return;
  if (tools->size() > kMaxTools)
    return fields.fail_with(bad_parameter(
        "tools", "array_above_max_length",
        fmt::format("Invalid 'tools': array too long. Expected at most {} tools, but got {} instead.",
                    kMaxTools, tools->size())));
  for (size_t i = 0; i < tools->size() && !fields.error(); ++i) {
    const std::string param = fmt::format("tools[{}]", i);
    const json::object* tool = (*tools)[i].if_object();
    if (!tool) return fields.fail_with(wrong_type(param, "an object", (*tools)[i]));
    Fields inner(*tool, param + ".");
    std::string type;
    inner.string("type", type);
    if (type.empty()) inner.fail_with(missing_parameter(param + ".type"));
    if (type != "function")
      inner.fail_with(bad_parameter(
          param + ".type", "unsupported_value",
          fmt::format("Invalid '{}.type': only tools of type 'function' are supported, not '{}'.", param,
                      type)));
    if (const auto& error = inner.error()) return fields.fail_with(*error);
    add_function(fields, param, *tool, "parameters", out);
  }
}

void read_tool_choice(Fields& fields, ToolUse& out) {
  const json::value* value = fields.any("tool_choice");
  const json::object* choice = value ? value->if_object() : nullptr;
  if (!choice) return read_choice_word(fields, value, out);
  Fields inner(*choice, "tool_choice.");
  std::string type;
  std::string name;
  inner.string("type", type);
  inner.string("name", name);
  if (type != "function")
    inner.fail_with(bad_parameter("tool_choice.type", "unsupported_value",
                                  "Invalid 'tool_choice.type': only 'function' is supported."));
  if (!inner.error()) choose_function(inner, "tool_choice.name", std::move(name), out);
  if (const auto& error = inner.error()) fields.fail_with(*error);
}

json::value or_null(const json::value* value) {
  return value ? *value : json::value(nullptr);
}

void read_reasoning(Fields& fields, ChatRequest& out, json::object& echo) {
  std::string summary;
  if (const json::object* reasoning = fields.object("reasoning")) {
    Fields inner(*reasoning, "reasoning.");
    read_reasoning_effort(inner, "effort", out.template_kwargs);
    inner.string("summary", summary);
    if (const auto& error = inner.error()) return fields.fail_with(*error);
  }
  echo["reasoning"] =
      json::object{{"effort", or_null(out.template_kwargs.if_contains("reasoning_effort"))},
                   {"summary", summary.empty() ? json::value(nullptr) : json::value(summary)}};
}

// This API's text.format is chat completions' response_format with one level less.
void move_text_format(json::object& body) {
  const json::value* text = body.if_contains("text");
  const json::value* format = text && text->is_object() ? text->get_object().if_contains("format") : nullptr;
  if (!format || format->is_null()) return;
  if (!format->is_object() || !format->get_object().contains("schema")) {
    body["response_format"] = *format;
    return;
  }
  json::object named = format->get_object();
  const json::value type = named["type"];
  named.erase("type");
  body["response_format"] = json::object{{"type", type}, {"json_schema", std::move(named)}};
}

// "response_format.json_schema.schema" -> "text.format.schema"
std::string text_format_param(std::string_view param) {
  constexpr std::string_view kFormat = "response_format";
  constexpr std::string_view kSchema = ".json_schema";
  if (!param.starts_with(kFormat)) return std::string(param);
  param.remove_prefix(kFormat.size());
  if (param.starts_with(kSchema)) param.remove_prefix(kSchema.size());
  return fmt::format("text.format{}", param);
}

void read_text_options(Fields& fields, ChatRequest& out) {
  const json::object* text = fields.object("text");
  if (!text) return;
  Fields inner(*text, "text.");
  read_verbosity(inner, out.template_kwargs);
  if (const auto& error = inner.error()) fields.fail_with(*error);
}

// What the API can include. Of these, this server has the log probabilities.
constexpr std::string_view kLogprobs = "message.output_text.logprobs";
constexpr std::array kIncludable = {kLogprobs,
                                    std::string_view("reasoning.encrypted_content"),
                                    std::string_view("message.input_image.image_url"),
                                    std::string_view("computer_call_output.output.image_url"),
                                    std::string_view("code_interpreter_call.outputs"),
                                    std::string_view("file_search_call.results"),
                                    std::string_view("web_search_call.results"),
                                    std::string_view("web_search_call.action.sources")};

void read_include(Fields& fields, SamplingParams& out, json::object& echo) {
  int64_t top = 0;
  fields.integer("top_logprobs", {.min = 0, .max = kMaxLogprobs}, top);
  echo["top_logprobs"] = top;
  const json::array* include = fields.array("include");
  if (!include) return;
  for (size_t i = 0; i < include->size(); ++i) {
    const json::value& what = (*include)[i];
    const std::string param = fmt::format("include[{}]", i);
    if (!what.is_string()) return fields.fail_with(wrong_type(param, "a string", what));
    const std::string_view name = what.get_string();
    if (std::ranges::find(kIncludable, name) == kIncludable.end())
      return fields.fail_with(unknown_word(param, kIncludable));
    if (name == kLogprobs) out.num_logprobs = static_cast<int32_t>(top);
  }
}

// What needs something that is kept between requests.
void refuse_state(Fields& fields) {
  for (const char* name : {"previous_response_id", "conversation"})
    if (fields.any(name))
      fields.fail_with(unsupported_parameter(
          name,
          fmt::format("'{}' is not supported: this server keeps nothing between requests. Send the whole "
                      "conversation as 'input'.",
                      name)));
  bool background = false;
  fields.boolean("background", background);
  if (background)
    fields.fail_with(
        unsupported_parameter("background", "'background' is not supported: responses are not kept."));
  if (fields.any("prompt"))
    fields.fail_with(unsupported_parameter("prompt", "'prompt' templates are not supported; use 'input'."));
}

// A bound on calls of the API's own tools, which this server does not have.
void check_max_tool_calls(Fields& fields, json::object& echo) {
  std::optional<int64_t> bound;
  fields.integer("max_tool_calls", {.min = 1}, bound);
  echo["max_tool_calls"] = bound ? json::value(*bound) : json::value(nullptr);
}

void read_truncation(Fields& fields, json::object& echo) {
  std::string truncation = "disabled";
  fields.string("truncation", truncation);
  if (truncation != "disabled" && truncation != "auto")
    fields.fail_with(
        bad_parameter("truncation", "invalid_value", "Invalid 'truncation': expected 'auto' or 'disabled'."));
  if (truncation == "auto")
    fields.fail_with(unsupported_parameter("truncation", "'truncation' can only be 'disabled'."));
  echo["truncation"] = "disabled";
}

// What the response repeats as it was sent.
void echo_fields(const Fields& fields, const ResponsesRequest& request, json::object& echo) {
  const SamplingParams& sampling = request.chat.generation.engine.sampling;
  echo["temperature"] = sampling.temperature;
  echo["top_p"] = sampling.top_p;
  echo["parallel_tool_calls"] = request.chat.tools.parallel;
  const json::value* choice = fields.any("tool_choice");
  echo["tool_choice"] = choice ? *choice : json::value("auto");
  const json::value* tools = fields.any("tools");
  echo["tools"] = tools ? *tools : json::value(json::array{});
  const json::value* text = fields.any("text");
  echo["text"] = text ? *text : json::value(json::object{{"format", json::object{{"type", "text"}}}});
  const json::value* metadata = fields.any("metadata");
  echo["metadata"] = metadata ? *metadata : json::value(json::object{});
  for (const char* name :
       {"instructions", "max_output_tokens", "user", "safety_identifier", "prompt_cache_key"})
    echo[name] = or_null(fields.any(name));
}

}  // namespace

ApiResult<ResponsesRequest> parse_responses_request(std::string_view body, const ModelLimits& limits) {
  ApiResult<json::object> object = parse_json_object(body);
  if (!object) return std::unexpected(std::move(object).error());
  const bool has_foreign_format = object->erase("response_format") > 0;
  move_text_format(*object);
  Fields fields(*object);
  ResponsesRequest request;
  ChatRequest& chat = request.chat;
  read_generation_fields(fields, limits, chat.generation);
  fields.integer("max_output_tokens", {.min = 1}, chat.generation.max_tokens);
  chat.generation.max_tokens_param = "max_output_tokens";
  read_running_reports(fields, chat.generation);
  if (chat.generation.engine.num_sequences != 1)
    fields.fail_with(bad_parameter("n", "invalid_value", "Invalid 'n': a response has one output."));
  read_tools(fields, chat.tools);
  fields.boolean("parallel_tool_calls", chat.tools.parallel);
  read_tool_choice(fields, chat.tools);
  check_tool_use(fields, chat.tools);
  read_reasoning(fields, chat, request.echo);
  read_reasoning_switches(fields, chat);
  read_text_options(fields, chat);
  fields.object("stream_options");  // this API's only one pads events, which is not needed here
  read_include(fields, chat.generation.engine.sampling, request.echo);
  check_max_tool_calls(fields, request.echo);
  read_truncation(fields, request.echo);
  refuse_state(fields);
  std::string instructions;
  fields.string("instructions", instructions);
  if (!instructions.empty())
    chat.messages.push_back(json::object{{"role", "system"}, {"content", std::move(instructions)}});
  const json::value* input = fields.any("input");
  if (!input)
    fields.fail_with(missing_parameter("input"));
  else if (input->is_string())
    chat.messages.push_back(json::object{{"role", "user"}, {"content", *input}});
  else if (input->is_array())
    read_response_input(fields, input->get_array(), chat.messages);
  else
    fields.fail_with(wrong_type("input", "a string or an array of items", *input));
  if (const json::object* kwargs = fields.object("chat_template_kwargs"))
    for (const auto& [name, value] : *kwargs) chat.template_kwargs[name] = value;
  echo_fields(fields, request, request.echo);
  if (auto error = finish_reading(fields, chat.generation)) {
    if (error->param) error->param = text_format_param(*error->param);
    return std::unexpected(std::move(*error));
  }
  if (has_foreign_format) chat.generation.unread_fields.emplace_back("response_format");
  if (chat.generation.structured_output)
    chat.generation.structured_output->param = text_format_param(chat.generation.structured_output->param);
  return request;
}

}  // namespace pagoda
