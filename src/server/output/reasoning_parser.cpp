#include "server/output/reasoning_parser.h"

#include <algorithm>
#include <array>

namespace pagoda {
namespace {

constexpr std::array kFormats = {
    ReasoningFormat{.name = "think", .open = "<think>", .close = "</think>"},
    ReasoningFormat{.name = "mistral", .open = "[THINK]", .close = "[/THINK]"},
};

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

}  // namespace

std::span<const ReasoningFormat> reasoning_formats() {
  return kFormats;
}

const ReasoningFormat* find_reasoning_format(std::string_view name) {
  const auto* found = std::ranges::find(kFormats, name, &ReasoningFormat::name);
  return found != kFormats.end() ? found : nullptr;
}

const ReasoningFormat* detect_reasoning_format(std::string_view chat_template) {
  const auto* found = std::ranges::find_if(kFormats, [&](const ReasoningFormat& format) {
    return chat_template.contains(format.close) || chat_template.contains(format.open);
  });
  return found != kFormats.end() ? found : nullptr;
}

ReasoningParser::ReasoningParser(const ReasoningFormat& format, Start start)
    : state_(start == Start::opened ? State::inside : State::before),
      open_(format.open),
      close_(format.close) {}

void ReasoningParser::push(std::string_view text, OutputDeltas& out, std::string& answer) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (state_ == State::answer) {
      answer += text.substr(i);
      return;
    }
    push_byte(text[i], out, answer);
  }
}

void ReasoningParser::push_byte(char c, OutputDeltas& out, std::string& answer) {
  if (state_ == State::inside) return push_inside(c, out);
  if (state_ == State::after) {
    if (is_space(c)) return;
    state_ = State::answer;
    answer += c;
    return;
  }
  held_ += c;
  const bool was_matching = !open_.matched().empty();
  if (open_.push(c)) {
    if (!open_.complete()) return;
    held_.clear();
    state_ = State::inside;
  } else if (was_matching || !is_space(c)) {
    answer += held_;
    held_.clear();
    state_ = State::answer;
  }
}

void ReasoningParser::push_inside(char c, OutputDeltas& out) {
  const bool was_matching = !close_.matched().empty();
  if (close_.push(c)) {
    held_ += c;
    if (!close_.complete()) return;
    held_.clear();
    state_ = State::after;
    return;
  }
  if (was_matching) {
    append(out, OutputDelta::Kind::reasoning, held_);
    held_.clear();
    begun_ = true;
    return push_inside(c, out);
  }
  if (is_space(c)) {
    if (begun_) held_ += c;
    return;
  }
  held_ += c;
  append(out, OutputDelta::Kind::reasoning, held_);
  held_.clear();
  begun_ = true;
}

void ReasoningParser::finish(OutputDeltas& out, std::string& answer) {
  if (state_ == State::inside)
    append(out, OutputDelta::Kind::reasoning, held_);
  else
    answer += held_;
  held_.clear();
}

}  // namespace pagoda
