#include "server/openai/chat_output.h"

#include <algorithm>
#include <utility>

#include <boost/json.hpp>

namespace pagoda {
namespace json = boost::json;

namespace {

constexpr std::string_view kSpace = " \t\r\n";
// Clients read one or the other: llama.cpp's and SGLang's, and vLLM's.
constexpr const char* kReasoningNames[] = {"reasoning_content", "reasoning"};
constexpr size_t kMarkerTokens = 16;  // at the end of a prompt: a marker, in the worst case a byte a token

void show_markers(const Tokenizer& tokenizer, std::span<const std::string_view> markers, Request& engine) {
  for (const std::string_view marker : markers) {
    const TokenId id = tokenizer.find_token(marker);
    if (id >= 0 && tokenizer.is_special(id)) engine.shown_special_tokens.push_back(id);
  }
}

}  // namespace

OutputPlan plan_output(const ServedModel& model, const ChatRequest& request, Request& engine) {
  const Tokenizer& tokenizer = model.engine->tokenizer();
  OutputPlan plan;
  plan.thinking = request.include_reasoning ? OutputPlan::Thinking::show : OutputPlan::Thinking::hide;
  if (request.separate_reasoning) plan.reasoning = model.output_format.reasoning;
  if (plan.reasoning) {
    const std::string_view markers[] = {plan.reasoning->open, plan.reasoning->close};
    show_markers(tokenizer, markers, engine);
  }
  if (!request.tools.offered()) return plan;
  plan.tool_calls = model.output_format.tool_calls;
  if (plan.tool_calls) show_markers(tokenizer, plan.tool_calls->markers, engine);
  // Also of a model without a format of its own: calls may be demanded of it.
  plan.functions = request.tools.names;
  if (!request.tools.parallel) plan.max_calls = 1;
  return plan;
}

void note_prompt(const Tokenizer& tokenizer, std::span<const int32_t> prompt, OutputPlan& plan) {
  if (!plan.reasoning) return;
  std::string tail;
  for (const int32_t token : prompt.last(std::min(prompt.size(), kMarkerTokens)))
    tokenizer.append_bytes(token, tail);
  tail.resize(tail.find_last_not_of(kSpace) + 1);
  if (tail.ends_with(plan.reasoning->open)) plan.reasoning_start = ReasoningParser::Start::opened;
}

std::optional<OutputDelta::Kind> MessageCollector::push(std::string_view text) {
  OutputDeltas deltas;
  const std::optional<OutputDelta::Kind> section = parser_.push(text, deltas);
  add(deltas);
  return section;
}

void MessageCollector::add(const OutputDeltas& deltas) {
  for (const OutputDelta& delta : deltas) {
    switch (delta.kind) {
      case OutputDelta::Kind::content:
        message_.content += delta.text;
        break;
      case OutputDelta::Kind::reasoning:
        message_.reasoning += delta.text;
        break;
      case OutputDelta::Kind::call:
        message_.calls.push_back({.name = delta.text});
        break;
      case OutputDelta::Kind::arguments:
        message_.calls.back().arguments += delta.text;
        break;
    }
  }
}

ParsedMessage MessageCollector::finish(const CallIds& ids) {
  OutputDeltas deltas;
  parser_.finish(deltas);
  add(deltas);
  for (size_t i = 0; i < message_.calls.size(); ++i) message_.calls[i].id = ids.at(static_cast<int64_t>(i));
  return std::exchange(message_, {});
}

CallIds call_ids(const AnswerInfo& info, int32_t choice) {
  const std::string_view unique = std::string_view(info.id).substr(info.id.find_last_of("-_") + 1);
  return {.prefix = fmt::format("call_{}{}_", unique, choice > 0 ? fmt::format("_{}", choice) : ""),
          .style = info.served->output_format.call_ids};
}

json::object to_chat_message(ParsedMessage message) {
  json::object result{{"role", "assistant"}, {"content", message.content}, {"refusal", nullptr}};
  if (!message.reasoning.empty())
    for (const char* name : kReasoningNames) result[name] = message.reasoning;
  if (message.calls.empty()) return result;
  json::array calls;
  for (ToolCall& call : message.calls)
    calls.push_back(json::object{{"id", std::move(call.id)},
                                 {"type", "function"},
                                 {"function", json::object{{"name", std::move(call.name)},
                                                           {"arguments", std::move(call.arguments)}}}});
  if (result.at("content").get_string().empty()) result["content"] = nullptr;
  result["tool_calls"] = std::move(calls);
  return result;
}

json::object to_chat_delta(const OutputDelta& delta, const CallIds& ids, int32_t& num_calls) {
  switch (delta.kind) {
    case OutputDelta::Kind::content:
      return {{"content", delta.text}};
    case OutputDelta::Kind::reasoning:
      return {{kReasoningNames[0], delta.text}, {kReasoningNames[1], delta.text}};
    case OutputDelta::Kind::call: {
      const int32_t index = num_calls++;
      return {{"tool_calls", json::array{json::object{
                                 {"index", index},
                                 {"id", ids.at(index)},
                                 {"type", "function"},
                                 {"function", json::object{{"name", delta.text}, {"arguments", ""}}}}}}};
    }
    case OutputDelta::Kind::arguments:
      break;
  }
  return {{"tool_calls", json::array{json::object{{"index", num_calls - 1},
                                                  {"function", json::object{{"arguments", delta.text}}}}}}};
}

}  // namespace pagoda
