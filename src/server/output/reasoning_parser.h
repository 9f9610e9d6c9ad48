// Splits a model's text into its thinking section, if it begins with one, and the answer after it.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "server/output/marker_matcher.h"
#include "server/output/output_delta.h"

namespace pagoda {

// How a thinking section is marked.
struct ReasoningFormat {
  std::string_view name;  // for --reasoning-parser
  std::string_view open;
  std::string_view close;
};

std::span<const ReasoningFormat> reasoning_formats();
// nullptr if there is none of this name.
const ReasoningFormat* find_reasoning_format(std::string_view name);
// The format that a chat template speaks of, or nullptr.
const ReasoningFormat* detect_reasoning_format(std::string_view chat_template);

// Space around the section and its markers belongs to neither part. A section that never ends is all
// thinking.
class ReasoningParser {
 public:
  // opened: the prompt ends with the opening marker, so that the text begins inside the section.
  enum class Start { unknown, opened };
  ReasoningParser(const ReasoningFormat& format, Start start);

  // Adds thinking to `out` and the bytes of the answer to `answer`.
  void push(std::string_view text, OutputDeltas& out, std::string& answer);
  void finish(OutputDeltas& out, std::string& answer);

 private:
  enum class State { before, inside, after, answer };
  void push_byte(char c, OutputDeltas& out, std::string& answer);
  void push_inside(char c, OutputDeltas& out);

  State state_;
  MarkerMatcher open_;
  MarkerMatcher close_;
  std::string held_;    // space and a part of a marker
  bool begun_ = false;  // thinking was told
};

}  // namespace pagoda
