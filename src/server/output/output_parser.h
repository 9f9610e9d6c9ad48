// A model's text -> thinking, content and tool calls.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "server/output/call_ids.h"
#include "server/output/reasoning_parser.h"
#include "server/output/tool_call_parser.h"
#include "text/chat_template.h"

namespace pagoda {

// How a model marks what it writes; nullptr: it has no such thing, or it is left as text.
struct OutputFormat {
  const ToolCallFormat* tool_calls = nullptr;
  const ReasoningFormat* reasoning = nullptr;
  CallIdStyle call_ids = CallIdStyle::any;
};

// Names of formats, "auto" (as the chat template shows) or "none".
struct OutputFormatNames {
  std::string tool_calls = "auto";
  std::string reasoning = "auto";
};

// An unknown name is an invalid_argument that lists the known ones.
Result<OutputFormat> choose_output_format(const OutputFormatNames& names,
                                          const std::optional<ChatTemplate>& chat_template);

// How one request's text is to be read.
struct OutputPlan {
  const ReasoningFormat* reasoning = nullptr;
  ReasoningParser::Start reasoning_start = ReasoningParser::Start::unknown;
  enum class Thinking { show, hide } thinking = Thinking::show;
  const ToolCallFormat* tool_calls = nullptr;
  std::vector<std::string> functions;  // that the request offers
  size_t max_calls = SIZE_MAX;         // what comes beyond is dropped
};

// One per sequence. The plan must outlive it.
class OutputParser {
 public:
  OutputParser(const OutputPlan& plan, ToolCallParserOptions::Tell tell);

  // The kind of the last of what was told, also of thinking that is hidden; none if all text was held back.
  std::optional<OutputDelta::Kind> push(std::string_view text, OutputDeltas& out);
  void finish(OutputDeltas& out);
  size_t num_calls() const { return num_calls_; }

 private:
  void push_answer(std::string_view text, OutputDeltas& out);
  void deliver(OutputDeltas& deltas, OutputDeltas& out);

  const OutputPlan* plan_;
  std::optional<ReasoningParser> reasoning_;
  std::unique_ptr<ToolCallParser> tool_calls_;
  size_t num_calls_ = 0;
  std::optional<OutputDelta::Kind> told_;  // since the last push
};

}  // namespace pagoda
