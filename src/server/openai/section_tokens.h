// Which of an answer's tokens are thinking and which are the text for the reader.
#pragma once

#include <cstdint>
#include <iterator>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "server/openai/events.h"
#include "server/output/output_delta.h"

namespace pagoda {

// Tokens whose text goes nowhere at once (the beginning of a marker or of a stop string) wait for those that
// follow: they belong to the section that these are in, or to the thinking that a marker ends.
class SectionTokens {
 public:
  // `section`: of the text that came with these tokens; none if there was none. `scored`: the same tokens, or
  // nothing.
  void add(int64_t num_tokens, std::span<const ScoredToken> scored,
           std::optional<OutputDelta::Kind> section) {
    if (section) settle(last_ == OutputDelta::Kind::reasoning ? *last_ : *section);
    num_waiting_ += num_tokens;
    waiting_.insert(waiting_.end(), scored.begin(), scored.end());
    if (!section) return;
    settle(*section);
    last_ = section;
  }

  // Of the text for the reader, scored if that was asked for, since the last call.
  std::vector<ScoredToken> take_content() { return std::exchange(content_, {}); }
  int64_t num_reasoning() const { return num_reasoning_; }

 private:
  void settle(OutputDelta::Kind section) {
    if (section == OutputDelta::Kind::reasoning) num_reasoning_ += num_waiting_;
    if (section == OutputDelta::Kind::content)
      content_.insert(content_.end(), std::make_move_iterator(waiting_.begin()),
                      std::make_move_iterator(waiting_.end()));
    num_waiting_ = 0;
    waiting_.clear();
  }

  std::optional<OutputDelta::Kind> last_;
  std::vector<ScoredToken> waiting_;
  int64_t num_waiting_ = 0;
  std::vector<ScoredToken> content_;
  int64_t num_reasoning_ = 0;
};

}  // namespace pagoda
