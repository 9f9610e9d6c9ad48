#include "server/output/json_call_parser.h"

#include <algorithm>
#include <utility>

namespace pagoda {
namespace {

constexpr size_t kMaxNameBytes = 256;
constexpr std::string_view kFence = "```json";
constexpr size_t kClosingFence = 3;

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}
bool is_name(char c) {
  return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_' || c == '-' ||
         c == '.';
}

}  // namespace

JsonCallParser::JsonCallParser(JsonCallSyntax syntax, ToolCallParserOptions options)
    : syntax_(syntax),
      options_(options),
      open_(syntax.open),
      close_(syntax.close),
      name_end_(syntax.name_end) {}

bool JsonCallParser::is_offered(std::string_view name) const {
  return std::ranges::find(options_.functions, name) != options_.functions.end();
}

void JsonCallParser::push(std::string_view text, OutputDeltas& out) {
  for (const char c : text) push_byte(c, out);
}

void JsonCallParser::push_byte(char c, OutputDeltas& out) {
  switch (state_) {
    case State::text:
      return push_text(c, out);
    case State::body:
      return push_body(c, out);
    case State::name:
      return push_name(c, out);
    case State::call:
      if (call_) push_call(*call_, c, out);
      return;
    case State::between:
      return push_between(c, out);
  }
}

void JsonCallParser::push_text(char c, OutputDeltas& out) {
  const bool was_matching = !open_.matched().empty();
  if (open_.push(c)) {
    held_ += c;
    if (!open_.complete()) return;
    open_.reset();
    state_ = State::body;
    bare_ = in_list_ = false;
    return;
  }
  if (was_matching) {
    give_up(out);
    return push_text(c, out);
  }
  const bool may_be_bare = at_start_ && syntax_.bare == JsonCallSyntax::Bare::yes;
  if (may_be_bare && fence_len_ < kFence.size() && c == kFence[fence_len_]) {
    ++fence_len_;
    held_ += c;
    return;
  }
  const bool in_fence_mark = fence_len_ > 0 && fence_len_ < kFence.size();
  if (is_space(c) && !in_fence_mark) {
    if (!after_call_) held_ += c;
    return;
  }
  if (may_be_bare && c == '{' && !in_fence_mark) {
    bare_ = true;
    if (fence_len_ > 0) fence_ticks_ = kClosingFence;
    return push_call(begin_call(JsonCall(options_), out), c, out);
  }
  held_ += c;
  give_up(out);
}

void JsonCallParser::push_body(char c, OutputDeltas& out) {
  const bool list_or_name = !in_list_ && !bare_ && syntax_.list_or_name == JsonCallSyntax::ListOrName::yes;
  if (c == '{') {
    return push_call(begin_call(JsonCall(options_), out), c, out);
  }
  if (is_space(c) || (list_or_name && c == '[')) {
    in_list_ = in_list_ || c == '[';
    held_ += c;
    return;
  }
  if (list_or_name && is_name(c)) {
    state_ = State::name;
    name_.clear();
    name_ended_ = false;
    return push_name(c, out);
  }
  give_up(out);
  push_byte(c, out);
}

void JsonCallParser::push_name(char c, OutputDeltas& out) {
  if (c == '{' && name_end_.matched().empty()) {
    return push_call(begin_call(JsonCall(options_, name_), out), c, out);
  }
  if (!name_ended_ && is_name(c) && name_end_.matched().empty() && name_.size() < kMaxNameBytes) {
    name_ += c;
    held_ += c;
    return;
  }
  const bool was_matching = !name_end_.matched().empty();
  if (name_end_.push(c) || (!was_matching && is_space(c))) {
    name_ended_ = true;
    held_ += c;
    if (name_end_.complete()) name_end_.reset();
    return;
  }
  give_up(out);
  push_byte(c, out);
}

JsonCall& JsonCallParser::begin_call(JsonCall call, OutputDeltas& out) {
  JsonCall& begun = call_.emplace(std::move(call));
  state_ = State::call;
  begun.flush(out);
  return begun;
}

void JsonCallParser::push_call(JsonCall& call, char c, OutputDeltas& out) {
  const JsonScanner::Status status = call.push(c);
  const bool no_call =
      bare_ && (!call.looks_like_call() || (!call.name().empty() && !is_offered(call.name())));
  if (status == JsonScanner::Status::bad || no_call) {
    give_up(out);
    return push_text(c, out);
  }
  call.flush(out);
  if (call.told())
    held_.clear();
  else
    held_ += c;
  if (status == JsonScanner::Status::done) end_call();
}

void JsonCallParser::end_call() {
  call_.reset();
  held_.clear();
  state_ = State::between;
  at_start_ = false;
  after_call_ = true;
}

void JsonCallParser::push_between(char c, OutputDeltas& out) {
  if (close_.push(c)) {
    held_ += c;
    if (!close_.complete()) return;
    close_.reset();
    held_.clear();
    state_ = State::text;
    return;
  }
  if (!held_.empty()) {  // what began like the closing marker may begin like the opening one
    const std::string again = std::exchange(held_, {});
    state_ = State::text;
    for (const char held : again) push_text(held, out);
    return push_byte(c, out);
  }
  if (is_space(c)) return;
  if (c == '`' && fence_ticks_ > 0) {
    --fence_ticks_;
    return;
  }
  if (c == '{') {
    return push_call(begin_call(JsonCall(options_), out), c, out);
  }
  if (in_list_ && c == ']') {
    state_ = State::text;
    return;
  }
  if (c == (in_list_ ? ',' : ';')) {
    held_ = c;
    state_ = State::body;
    return;
  }
  state_ = State::text;
  push_text(c, out);
}

void JsonCallParser::give_up(OutputDeltas& out) {
  append(out, OutputDelta::Kind::content, held_);
  held_.clear();
  open_.reset();
  name_end_.reset();
  call_.reset();
  state_ = State::text;
  at_start_ = after_call_ = false;
  fence_len_ = fence_ticks_ = 0;
}

void JsonCallParser::finish(OutputDeltas& out) {
  const bool only_separator = state_ == State::body && (held_.starts_with(',') || held_.starts_with(';'));
  const bool told = call_ && call_->told();
  if (state_ != State::between && !only_separator && !told) give_up(out);
}

}  // namespace pagoda
