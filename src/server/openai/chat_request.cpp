#include "server/openai/chat_request.h"

#include <boost/json.hpp>

#include "server/openai/chat_messages.h"
#include "server/openai/json_body.h"

namespace pagoda {
namespace json = boost::json;

namespace {

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

void read_max_tokens(Fields& fields, GenerationRequest& out) {
  read_n_predict(fields, out);
  fields.integer("max_tokens", {.min = 1}, out.max_tokens);
  if (!fields.any("max_completion_tokens")) return;
  fields.integer("max_completion_tokens", {.min = 1}, out.max_tokens);
  out.max_tokens_param = "max_completion_tokens";
}

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

void refuse_other_modalities(Fields& fields) {
  const json::array* modalities = fields.array("modalities");
  if (modalities && *modalities != json::array{"text"})
    fields.fail_with(unsupported_parameter("modalities", "'modalities' can only be [\"text\"]."));
}

}  // namespace

void read_reasoning_switches(Fields& fields, ChatRequest& out) {
  fields.boolean("include_reasoning", out.include_reasoning);
  fields.boolean("separate_reasoning", out.separate_reasoning);
}

ApiResult<ChatRequest> parse_chat_request(std::string_view body, const ModelLimits& limits) {
  ApiResult<json::object> object = parse_json_object(body);
  if (!object) return std::unexpected(std::move(object).error());
  Fields fields(*object);
  ChatRequest request;
  read_generation_fields(fields, limits, request.generation);
  read_max_tokens(fields, request.generation);
  read_running_reports(fields, request.generation);
  read_logprobs(fields, request.generation.engine.sampling);
  read_chat_tools(fields, request.tools);
  read_reasoning_switches(fields, request);
  read_template_options(fields, request);
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
