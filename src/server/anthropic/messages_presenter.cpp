#include "server/anthropic/messages_presenter.h"

#include <optional>
#include <utility>

#include <boost/json.hpp>

#include "server/anthropic/anthropic_error.h"
#include "server/openai/chat_output.h"
#include "server/output/json_scanner.h"

namespace pagoda {
namespace json = boost::json;

namespace {

constexpr std::string_view kCallIdPrefix = "toolu_";

// Why the message ended.
struct Ending {
  std::string_view reason = "end_turn";
  json::value stop_sequence = nullptr;
};

Ending ending_of(const SequenceNews& news, bool has_calls) {
  if (news.finish == FinishReason::length) return {.reason = "max_tokens"};
  if (!news.stop_match.empty())
    return {.reason = "stop_sequence", .stop_sequence = json::value(news.stop_match)};
  return {.reason = has_calls ? "tool_use" : "end_turn"};
}

json::object usage_json(const Usage& usage) {
  return {{"input_tokens", usage.prompt_tokens - usage.cached_tokens - usage.kept_tokens},
          {"cache_creation_input_tokens", usage.kept_tokens},
          {"cache_read_input_tokens", usage.cached_tokens},
          {"output_tokens", usage.completion_tokens}};
}

json::object message_json(const AnswerInfo& info, json::array content, const Usage& usage) {
  return {{"id", info.id},
          {"type", "message"},
          {"role", "assistant"},
          {"model", info.model},
          {"content", std::move(content)},
          {"stop_reason", nullptr},
          {"stop_sequence", nullptr},
          {"usage", usage_json(usage)}};
}

CallIds anthropic_call_ids(const AnswerInfo& info) {
  return {.prefix = fmt::format("{}{}_", kCallIdPrefix, info.id.substr(info.id.find('_') + 1)),
          .style = info.served->output_format.call_ids};
}

// What the model wrote is checked JSON, but for numbers or depths that only this parser refuses.
json::value parse_input(const std::string& arguments) {
  boost::system::error_code ec;
  json::parse_options options;
  options.max_depth = JsonScanner::kMaxDepth;
  json::value input = json::parse(arguments, ec, {}, options);
  return ec ? json::value(json::object{}) : std::move(input);
}

class MessagesAnswer final : public Presenter {
 public:
  explicit MessagesAnswer(AnswerInfo info) : info_(std::move(info)), text_(*info_.output) {}

  bool streams() const override { return false; }
  void prompt_done(size_t, const RequestTimings& timings) override { usage_.add(timings, info_.num_choices); }

  void update(size_t, const SequenceNews& news, std::string&) override {
    text_.push(news.text);
    if (!news.finish) return;
    message_ = text_.finish(anthropic_call_ids(info_));
    ending_ = ending_of(news, !message_.calls.empty());
  }

  void end(std::string& out) override {
    json::array content;
    if (!message_.reasoning.empty())
      content.push_back(
          json::object{{"type", "thinking"}, {"thinking", std::move(message_.reasoning)}, {"signature", ""}});
    if (!message_.content.empty())
      content.push_back(json::object{{"type", "text"}, {"text", std::move(message_.content)}});
    for (ToolCall& call : message_.calls)
      content.push_back(json::object{{"type", "tool_use"},
                                     {"id", std::move(call.id)},
                                     {"name", std::move(call.name)},
                                     {"input", parse_input(call.arguments)}});
    json::object message = message_json(info_, std::move(content), usage_);
    message["stop_reason"] = ending_.reason;
    message["stop_sequence"] = std::move(ending_.stop_sequence);
    out += json::serialize(message);
  }

 private:
  AnswerInfo info_;
  MessageCollector text_;
  ParsedMessage message_;
  Ending ending_;
  Usage usage_;
};

class MessagesStream final : public Presenter {
 public:
  explicit MessagesStream(AnswerInfo info)
      : info_(std::move(info)),
        call_ids_(anthropic_call_ids(info_)),
        parser_(*info_.output, ToolCallParserOptions::Tell::at_once) {}

  bool streams() const override { return true; }
  void prompt_done(size_t, const RequestTimings& timings) override { usage_.add(timings, info_.num_choices); }

  void begin(std::string& out) override {
    const Usage known{.prompt_tokens = info_.num_prompt_tokens};
    event(out, "message_start", {{"message", message_json(info_, {}, known)}});
    event(out, "ping", {});
  }

  void update(size_t, const SequenceNews& news, std::string& out) override {
    OutputDeltas deltas;
    parser_.push(news.text, deltas);
    if (news.finish) parser_.finish(deltas);
    for (const OutputDelta& delta : deltas) add(delta, out);
    if (!news.finish) return;
    close(out);
    ending_ = ending_of(news, num_calls_ > 0);
  }

  void end(std::string& out) override {
    event(out, "message_delta",
          {{"delta", json::object{{"stop_reason", ending_.reason}, {"stop_sequence", ending_.stop_sequence}}},
           {"usage", usage_json(usage_)}});
    event(out, "message_stop", {});
  }

  void fail(const ApiError& error, std::string& out) override {
    out += "event: error\ndata: ";
    out += to_anthropic_json(error);
    out += "\n\n";
  }

 private:
  using Kind = OutputDelta::Kind;

  static void event(std::string& out, std::string_view type, json::object members) {
    json::object data{{"type", type}};
    for (auto& member : members) data[member.key()] = std::move(member.value());
    out += fmt::format("event: {}\ndata: {}\n\n", type, json::serialize(data));
  }

  void add(const OutputDelta& delta, std::string& out) {
    const bool goes_on = delta.kind == Kind::arguments || (delta.kind != Kind::call && open_ == delta.kind);
    if (!goes_on) open(delta, out);
    if (delta.kind == Kind::call) return;
    json::object piece;
    if (delta.kind == Kind::content)
      piece = {{"type", "text_delta"}, {"text", delta.text}};
    else if (delta.kind == Kind::reasoning)
      piece = {{"type", "thinking_delta"}, {"thinking", delta.text}};
    else
      piece = {{"type", "input_json_delta"}, {"partial_json", delta.text}};
    event(out, "content_block_delta", {{"index", index_}, {"delta", std::move(piece)}});
  }

  void open(const OutputDelta& delta, std::string& out) {
    close(out);
    open_ = delta.kind;
    json::object block;
    if (delta.kind == Kind::content)
      block = {{"type", "text"}, {"text", ""}};
    else if (delta.kind == Kind::reasoning)
      block = {{"type", "thinking"}, {"thinking", ""}, {"signature", ""}};
    else
      block = {{"type", "tool_use"},
               {"id", call_ids_.at(num_calls_++)},
               {"name", delta.text},
               {"input", json::object{}}};
    event(out, "content_block_start", {{"index", index_}, {"content_block", std::move(block)}});
  }

  void close(std::string& out) {
    if (!open_) return;
    event(out, "content_block_stop", {{"index", index_}});
    open_.reset();
    ++index_;
  }

  AnswerInfo info_;
  CallIds call_ids_;
  OutputParser parser_;
  std::optional<Kind> open_;  // of the block at hand
  int32_t index_ = 0;         // of the block at hand or the next
  int32_t num_calls_ = 0;
  Ending ending_;
  Usage usage_;
};

}  // namespace

std::unique_ptr<Presenter> make_messages_answer(AnswerInfo info) {
  return std::make_unique<MessagesAnswer>(std::move(info));
}
std::unique_ptr<Presenter> make_messages_stream(AnswerInfo info) {
  return std::make_unique<MessagesStream>(std::move(info));
}

}  // namespace pagoda
