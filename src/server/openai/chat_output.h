// What the answers of all chat APIs have in common: one parser per choice, ids of tool calls.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "server/openai/answer_info.h"
#include "server/openai/chat_request.h"
#include "server/output/output_parser.h"
#include "server/served_model.h"

namespace pagoda {

// How the output of this request is to be read; adds to `engine` what the parsers need to see.
OutputPlan plan_output(const ServedModel& model, const ChatRequest& request, Request& engine);
// Whether the prompt ends inside a thinking section that the template itself has opened.
void note_prompt(const Tokenizer& tokenizer, std::span<const int32_t> prompt, OutputPlan& plan);

struct ToolCall {
  std::string id;
  std::string name;
  std::string arguments;  // JSON text
};

// The whole of a message.
struct ParsedMessage {
  std::string content;
  std::string reasoning;
  std::vector<ToolCall> calls;
};

// Collects one choice's text.
class MessageCollector {
 public:
  explicit MessageCollector(const OutputPlan& plan)
      : parser_(plan, ToolCallParserOptions::Tell::when_complete) {}
  // The section that the last of the text belongs to; none if all of it is held back.
  std::optional<OutputDelta::Kind> push(std::string_view text);
  ParsedMessage finish(const CallIds& ids);

 private:
  void add(const OutputDeltas& deltas);

  OutputParser parser_;
  ParsedMessage message_;
};

// Of a choice of the answer.
CallIds call_ids(const AnswerInfo& info, int32_t choice);

// {"role": "assistant", "content", "refusal"[, "reasoning_content", "reasoning"][, "tool_calls"]}
boost::json::object to_chat_message(ParsedMessage message);
// The deltas of a stream's chunks. `num_calls` counts the calls of the choice so far.
boost::json::object to_chat_delta(const OutputDelta& delta, const CallIds& ids, int32_t& num_calls);

}  // namespace pagoda
