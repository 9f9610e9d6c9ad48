#include "server/openai/response_object.h"

#include <boost/json.hpp>

namespace pagoda {
namespace json = boost::json;

namespace {

std::string_view status_name(ResponseStatus status) {
  switch (status) {
    case ResponseStatus::in_progress:
      return "in_progress";
    case ResponseStatus::completed:
      return "completed";
    case ResponseStatus::incomplete:
      return "incomplete";
    case ResponseStatus::failed:
      break;
  }
  return "failed";
}

json::value usage_json(const Usage& usage) {
  return json::object{{"input_tokens", usage.prompt_tokens},
                      {"input_tokens_details", usage.details_json()},
                      {"output_tokens", usage.completion_tokens},
                      {"output_tokens_details", json::object{{"reasoning_tokens", usage.reasoning_tokens}}},
                      {"total_tokens", usage.prompt_tokens + usage.completion_tokens}};
}

}  // namespace

json::object response_json(const AnswerInfo& info, const json::object& echo, ResponseStatus status,
                           json::array output, const Usage& usage) {
  json::object response{{"id", info.id},
                        {"object", "response"},
                        {"created_at", info.created},
                        {"status", status_name(status)},
                        {"background", false},
                        {"error", nullptr},
                        {"incomplete_details", nullptr},
                        {"model", info.model},
                        {"output", std::move(output)},
                        {"previous_response_id", nullptr},
                        {"max_tool_calls", nullptr},
                        {"service_tier", "default"},
                        {"store", false},
                        {"usage", nullptr}};
  if (status == ResponseStatus::incomplete)
    response["incomplete_details"] = json::object{{"reason", "max_output_tokens"}};
  const bool ended = status == ResponseStatus::completed || status == ResponseStatus::incomplete;
  if (ended) response["usage"] = usage_json(usage);
  for (const auto& [name, value] : echo) response[name] = value;
  return response;
}

json::object text_part(OutputDelta::Kind kind, std::string_view text, json::array logprobs) {
  if (kind == OutputDelta::Kind::reasoning) return {{"type", "reasoning_text"}, {"text", text}};
  return {{"type", "output_text"},
          {"text", text},
          {"annotations", json::array{}},
          {"logprobs", std::move(logprobs)}};
}

json::object text_item(OutputDelta::Kind kind, std::string_view id, std::string_view status,
                       const std::string* text, json::array logprobs) {
  json::array content;
  if (text) content.push_back(text_part(kind, *text, std::move(logprobs)));
  json::object item{{"id", id}, {"status", status}, {"content", std::move(content)}};
  if (kind == OutputDelta::Kind::reasoning) {
    item["type"] = "reasoning";
    item["summary"] = json::array{};
  } else {
    item["type"] = "message";
    item["role"] = "assistant";
  }
  return item;
}

json::object call_item(std::string_view id, std::string_view status, const ToolCall& call) {
  return {{"id", id},           {"type", "function_call"}, {"status", status},
          {"call_id", call.id}, {"name", call.name},       {"arguments", call.arguments}};
}

std::string item_id(const AnswerInfo& info, OutputDelta::Kind kind, size_t index) {
  const std::string_view prefix = kind == OutputDelta::Kind::content     ? "msg"
                                  : kind == OutputDelta::Kind::reasoning ? "rs"
                                                                         : "fc";
  return fmt::format("{}_{}_{}", prefix, info.id.substr(info.id.find('_') + 1), index);
}

}  // namespace pagoda
