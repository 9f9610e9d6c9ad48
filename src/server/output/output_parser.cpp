#include "server/output/output_parser.h"

#include <utility>

namespace pagoda {
namespace {

std::string known_names(std::string_view more) {
  std::string names = "auto, none";
  return names.append(more);
}

}  // namespace

Result<OutputFormat> choose_output_format(const OutputFormatNames& names,
                                          const std::optional<ChatTemplate>& chat_template) {
  const std::string_view source = chat_template ? std::string_view(chat_template->source()) : "";
  OutputFormat format{.call_ids = detect_call_id_style(source)};
  if (names.tool_calls == "auto") {
    format.tool_calls = detect_tool_call_format(source);
  } else if (names.tool_calls != "none") {
    format.tool_calls = find_tool_call_format(names.tool_calls);
    std::string known;
    for (const ToolCallFormat* other : tool_call_formats()) known.append(", ").append(other->name);
    if (!format.tool_calls)
      return fail(ErrorCode::invalid_argument, "--tool-call-parser: there is no '{}'. Known: {}.",
                  names.tool_calls, known_names(known));
  }
  if (names.reasoning == "auto") {
    format.reasoning = detect_reasoning_format(source);
  } else if (names.reasoning != "none") {
    format.reasoning = find_reasoning_format(names.reasoning);
    std::string known;
    for (const ReasoningFormat& other : reasoning_formats()) known.append(", ").append(other.name);
    if (!format.reasoning)
      return fail(ErrorCode::invalid_argument, "--reasoning-parser: there is no '{}'. Known: {}.",
                  names.reasoning, known_names(known));
  }
  return format;
}

OutputParser::OutputParser(const OutputPlan& plan, ToolCallParserOptions::Tell tell) : plan_(&plan) {
  if (plan.reasoning) reasoning_.emplace(*plan.reasoning, plan.reasoning_start);
  if (plan.tool_calls) tool_calls_ = plan.tool_calls->make({.functions = plan.functions, .tell = tell});
}

std::optional<OutputDelta::Kind> OutputParser::push(std::string_view text, OutputDeltas& out) {
  told_.reset();
  if (!reasoning_) {
    push_answer(text, out);
    return told_;
  }
  OutputDeltas thinking;
  std::string answer;
  reasoning_->push(text, thinking, answer);
  deliver(thinking, out);
  push_answer(answer, out);
  return told_;
}

void OutputParser::finish(OutputDeltas& out) {
  if (reasoning_) {
    OutputDeltas thinking;
    std::string answer;
    reasoning_->finish(thinking, answer);
    deliver(thinking, out);
    push_answer(answer, out);
  }
  if (!tool_calls_) return;
  OutputDeltas deltas;
  tool_calls_->finish(deltas);
  deliver(deltas, out);
}

void OutputParser::push_answer(std::string_view text, OutputDeltas& out) {
  OutputDeltas deltas;
  if (tool_calls_)
    tool_calls_->push(text, deltas);
  else
    append(deltas, OutputDelta::Kind::content, text);
  deliver(deltas, out);
}

void OutputParser::deliver(OutputDeltas& deltas, OutputDeltas& out) {
  for (OutputDelta& delta : deltas) {
    using Kind = OutputDelta::Kind;
    told_ = delta.kind;
    if (delta.kind == Kind::call) ++num_calls_;
    const bool is_call = delta.kind == Kind::call || delta.kind == Kind::arguments;
    if (is_call && num_calls_ > plan_->max_calls) continue;
    if (delta.kind == Kind::reasoning && plan_->thinking == OutputPlan::Thinking::hide) continue;
    append(out, delta.kind, delta.text);
  }
}

}  // namespace pagoda
