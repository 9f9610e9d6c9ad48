#include "server/openai/chat_request.h"

#include <algorithm>
#include <array>
#include <span>

#include <boost/json.hpp>

#include "server/openai/chat_messages.h"
#include "server/openai/json_body.h"

namespace pagoda {
namespace json = boost::json;

namespace {

constexpr std::array<std::string_view, 7> kEfforts = {"none", "minimal", "low", "medium",
                                                      "high", "xhigh",   "max"};
constexpr std::array<std::string_view, 3> kVerbosities = {"low", "medium", "high"};

// One of the words, or empty if the request does not say.
std::string read_word(Fields& fields, std::string_view name, std::span<const std::string_view> words) {
  std::string word;
  fields.string(name, word);
  if (!fields.any(name) || fields.error() || std::ranges::find(words, word) != words.end()) return word;
  fields.fail_with(unknown_word(fields.path(name), words));
  return {};
}

void read_logprobs(Fields& fields, SamplingParams& out) {
  bool wanted = false;
  std::optional<int64_t> top;
  fields.boolean("logprobs", wanted);
  fields.integer("top_logprobs", {.min = 0, .max = kMaxLogprobs}, top);
  if (top && *top > 0 && !wanted)
    return fields.fail_with(
        bad_parameter("top_logprobs", "invalid_value",
                      "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled."));
  if (wanted) out.num_logprobs = static_cast<int32_t>(top.value_or(0));
}

// OpenAI's predicted output makes answers faster, not other ones; here it changes nothing.
void check_prediction(Fields& fields) {
  fields.object("prediction");
}

// What would change the answer and cannot be honoured must not be dropped silently.
void refuse_unsupported(Fields& fields) {
  for (const char* name : {"functions", "function_call"})
    if (fields.any(name))
      fields.fail_with(unsupported_parameter(
          name, fmt::format("'{}' is not supported by this server; use 'tools' and 'tool_choice'.", name)));
  for (const char* name : {"audio", "chat_template", "web_search_options"})
    if (fields.any(name))
      fields.fail_with(
          unsupported_parameter(name, fmt::format("'{}' is not supported by this server.", name)));
}

// An empty list of tools, or a choice among none, is a mistake to OpenAI's API.
void refuse_absent_tools(Fields& fields) {
  const json::array* tools = fields.array("tools");
  if (tools && tools->empty())
    fields.fail_with(bad_parameter("tools", "empty_array",
                                   "Invalid 'tools': empty array. Expected an array with minimum length 1, "
                                   "but got an empty array instead."));
  const json::value* choice = fields.any("tool_choice");
  if (!tools && choice && *choice != "none")
    fields.fail_with(bad_parameter("tool_choice", "invalid_value",
                                   "Invalid value for 'tool_choice': 'tool_choice' is only allowed when "
                                   "'tools' are specified."));
}

void refuse_other_modalities(Fields& fields) {
  const json::array* modalities = fields.array("modalities");
  if (modalities && *modalities != json::array{"text"})
    fields.fail_with(unsupported_parameter("modalities", "'modalities' can only be [\"text\"]."));
}

}  // namespace

void read_template_options(Fields& fields, ChatRequest& out) {
  const bool explicit_prompt = fields.any("add_generation_prompt") != nullptr;
  fields.boolean("add_generation_prompt", out.add_generation_prompt);
  fields.boolean("continue_final_message", out.continue_final_message);
  fields.boolean("echo", out.echo);
  if (const json::object* kwargs = fields.object("chat_template_kwargs")) out.template_kwargs = *kwargs;
  if (const json::array* documents = fields.array("documents")) out.template_kwargs["documents"] = *documents;
  if (!out.continue_final_message) return;
  if (explicit_prompt && out.add_generation_prompt)
    fields.fail_with(
        bad_parameter("continue_final_message", "invalid_value",
                      "'continue_final_message' and 'add_generation_prompt' exclude each other."));
  out.add_generation_prompt = false;
}

void read_effort(Fields& fields, std::string_view name, json::object& template_kwargs) {
  const std::string effort = read_word(fields, name, kEfforts);
  if (!effort.empty()) template_kwargs.emplace("reasoning_effort", effort);
}

void read_reasoning_effort(Fields& fields, std::string_view name, json::object& template_kwargs) {
  read_effort(fields, name, template_kwargs);
  const json::value* effort = fields.any(name);
  if (effort && !fields.error()) template_kwargs.emplace("enable_thinking", *effort != "none");
}

void read_verbosity(Fields& fields, json::object& template_kwargs) {
  const std::string verbosity = read_word(fields, "verbosity", kVerbosities);
  if (!verbosity.empty()) template_kwargs.emplace("verbosity", verbosity);
}

void read_reasoning_switches(Fields& fields, ChatRequest& out) {
  fields.boolean("include_reasoning", out.include_reasoning);
  fields.boolean("separate_reasoning", out.separate_reasoning);
}

ApiResult<ChatRequest> parse_chat_request(std::string_view body, const ModelLimits& limits,
                                          ChatPurpose purpose) {
  ApiResult<json::object> object = parse_json_object(body);
  if (!object) return std::unexpected(std::move(object).error());
  Fields fields(*object);
  ChatRequest request;
  read_generation_fields(fields, limits, request.generation);
  read_completion_fields(fields, limits, request.generation);
  read_max_tokens(fields, request.generation);
  read_running_reports(fields, request.generation);
  read_logprobs(fields, request.generation.engine.sampling);
  if (purpose == ChatPurpose::complete) refuse_absent_tools(fields);
  read_chat_tools(fields, request.tools);
  read_reasoning_switches(fields, request);
  read_template_options(fields, request);
  read_reasoning_effort(fields, "reasoning_effort", request.template_kwargs);
  read_verbosity(fields, request.template_kwargs);
  check_prediction(fields);
  refuse_unsupported(fields);
  refuse_other_modalities(fields);
  if (const json::array* messages = fields.array("messages"))
    read_messages(fields, *messages, request.messages);
  else
    fields.fail_with(missing_parameter("messages"));
  if (auto error = finish_reading(fields, request.generation)) return std::unexpected(std::move(*error));
  return request;
}

}  // namespace pagoda
