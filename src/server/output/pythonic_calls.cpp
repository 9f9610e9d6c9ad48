// Llama 4 and some small Llama 3.2: the whole answer is a Python list of calls, [name(a=1), other(b="x")],
// sometimes between <|python_start|> and <|python_end|>. Only calls to offered functions count, and each is
// told as a whole, since it has to be translated to JSON.
#include <algorithm>
#include <utility>

#include "server/output/marker_matcher.h"
#include "server/output/python_literal.h"
#include "server/output/tool_call_parser.h"

namespace pagoda {
namespace {

constexpr std::string_view kMarkers[] = {"<|python_start|>", "<|python_end|>"};
constexpr size_t kMaxNameBytes = 256;

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

class PythonicParser final : public ToolCallParser {
 public:
  explicit PythonicParser(ToolCallParserOptions options) : options_(options) {}

  void push(std::string_view text, OutputDeltas& out) override {
    for (const char c : text) push_byte(c, out);
  }

  void finish(OutputDeltas& out) override {
    if (state_ != State::between && state_ != State::end) give_up(out);
  }

 private:
  // start: before the list; name, arguments: of a call; between: after a call; end: after the list
  enum class State { start, name, arguments, between, end, text };

  void push_byte(char c, OutputDeltas& out) {
    switch (state_) {
      case State::start:
        return push_start(c, out);
      case State::name:
        return push_name(c, out);
      case State::arguments:
        return push_arguments(c, out);
      case State::between:
        return push_between(c, out);
      case State::end:
        return push_end(c, out);
      case State::text:
        return append(out, OutputDelta::Kind::content, std::string_view(&c, 1));
    }
  }

  void push_start(char c, OutputDeltas& out) {
    held_ += c;
    const bool was_matching = !open_.matched().empty();
    if (open_.push(c)) {
      if (open_.complete()) open_.reset();
    } else if (was_matching || (c != '[' && !is_space(c))) {
      give_up(out);
    } else if (c == '[') {
      state_ = State::name;
    }
  }

  void push_name(char c, OutputDeltas& out) {
    held_ += c;
    if (c == '(') {
      if (std::ranges::find(options_.functions, name_) == options_.functions.end()) return give_up(out);
      state_ = State::arguments;
      arguments_.clear();
      quote_ = '\0';
      escaped_ = false;
      depth_ = 0;
    } else if (!is_space(c) || !name_.empty()) {
      name_ += c;
      if (name_.size() > kMaxNameBytes) give_up(out);
    }
  }

  void push_arguments(char c, OutputDeltas& out) {
    held_ += c;
    if (c == ')' && depth_ == 0 && quote_ == '\0') return end_call(out);
    arguments_ += c;
    if (quote_ != '\0') {
      if (!escaped_ && c == quote_) quote_ = '\0';
      escaped_ = !escaped_ && c == '\\';
    } else if (c == '"' || c == '\'') {
      quote_ = c;
    } else if (c == '(' || c == '[' || c == '{') {
      ++depth_;
    } else if (c == ')' || c == ']' || c == '}') {
      if (depth_-- == 0) give_up(out);
    }
  }

  void end_call(OutputDeltas& out) {
    const std::optional<std::string> arguments = python_arguments_to_json(arguments_);
    if (!arguments) return give_up(out);
    append(out, OutputDelta::Kind::call, name_);
    append(out, OutputDelta::Kind::arguments, *arguments);
    held_.clear();
    name_.clear();
    state_ = State::between;
  }

  void push_between(char c, OutputDeltas& out) {
    if (is_space(c)) return;
    if (c == ',') {
      state_ = State::name;
    } else if (c == ']') {
      state_ = State::end;
    } else {
      state_ = State::text;
      push_byte(c, out);
    }
  }

  void push_end(char c, OutputDeltas& out) {
    const bool was_matching = !close_.matched().empty();
    if (close_.push(c)) {
      held_ += c;
      if (!close_.complete()) return;
      close_.reset();
      held_.clear();
    } else if (was_matching || !is_space(c)) {
      held_ += c;
      give_up(out);
    }
  }

  void give_up(OutputDeltas& out) {
    append(out, OutputDelta::Kind::content, held_);
    held_.clear();
    state_ = State::text;
  }

  ToolCallParserOptions options_;
  State state_ = State::start;
  MarkerMatcher open_{kMarkers[0]};
  MarkerMatcher close_{kMarkers[1]};
  std::string held_;  // content if it does not become a call
  std::string name_;
  std::string arguments_;  // Python
  char quote_ = '\0';      // of the string that is open
  bool escaped_ = false;
  size_t depth_ = 0;
};

bool is_of(std::string_view chat_template) {
  return chat_template.contains("func_name1(params_name1") || chat_template.contains("<|python_start|>");
}

std::unique_ptr<ToolCallParser> make(ToolCallParserOptions options) {
  return std::make_unique<PythonicParser>(options);
}

}  // namespace

const ToolCallFormat kPythonicCalls{.name = "pythonic", .markers = kMarkers, .is_of = is_of, .make = make};

}  // namespace pagoda
