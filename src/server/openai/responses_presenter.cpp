#include "server/openai/responses_presenter.h"

#include <optional>
#include <utility>

#include <boost/json.hpp>

#include "server/openai/response_object.h"
#include "server/openai/section_tokens.h"
#include "server/openai/token_text.h"

namespace pagoda {
namespace json = boost::json;

namespace {

using Kind = OutputDelta::Kind;

ResponseStatus status_of(FinishReason reason) {
  return reason == FinishReason::length ? ResponseStatus::incomplete : ResponseStatus::completed;
}

class ResponseAnswer final : public Presenter {
 public:
  ResponseAnswer(AnswerInfo info, json::object echo)
      : info_(std::move(info)), echo_(std::move(echo)), text_(*info_.output) {}

  bool streams() const override { return false; }
  void prompt_done(size_t, const RequestTimings& timings) override { usage_.add(timings, info_.num_choices); }

  void update(size_t, const SequenceNews& news, std::string&) override {
    tokens_.add(news.num_tokens, news.tokens, text_.push(news.text));
    if (news.finish) status_ = status_of(*news.finish);
  }

  void end(std::string& out) override {
    const ParsedMessage message = text_.finish(call_ids(info_, 0));
    const bool cut = status_ == ResponseStatus::incomplete;
    json::array output;
    const auto add_text = [&](Kind kind, const std::string& text, bool last, json::array logprobs) {
      if (!text.empty())
        output.push_back(text_item(kind, item_id(info_, kind, output.size()),
                                   cut && last ? "incomplete" : "completed", &text, std::move(logprobs)));
    };
    const bool only_reasoning = message.content.empty() && message.calls.empty();
    add_text(Kind::reasoning, message.reasoning, only_reasoning, {});
    add_text(Kind::content, message.content, message.calls.empty(),
             chat_logprobs(info_.tokenizer(), tokens_.take_content()));
    usage_.reasoning_tokens = tokens_.num_reasoning();
    for (const ToolCall& call : message.calls)
      output.push_back(call_item(item_id(info_, Kind::call, output.size()), "completed", call));
    out += json::serialize(response_json(info_, echo_, status_, std::move(output), usage_));
  }

 private:
  AnswerInfo info_;
  json::object echo_;
  MessageCollector text_;
  SectionTokens tokens_;
  ResponseStatus status_ = ResponseStatus::completed;
  Usage usage_;
};

class ResponseStream final : public Presenter {
 public:
  ResponseStream(AnswerInfo info, json::object echo)
      : info_(std::move(info)),
        echo_(std::move(echo)),
        parser_(*info_.output, ToolCallParserOptions::Tell::at_once),
        timings_(info_.prompts.size(), info_.num_choices) {}

  bool streams() const override { return true; }
  void prompt_done(size_t, const RequestTimings& timings) override { usage_.add(timings, info_.num_choices); }

  void begin(std::string& out) override {
    const json::object response = response_json(info_, echo_, ResponseStatus::in_progress, {}, {});
    event(out, "response.created", {{"response", response}});
    event(out, "response.in_progress", {{"response", response}});
  }

  void progress(size_t prompt, const PromptProgress& progress, std::string& out) override {
    timings_.note(prompt, progress);
    json::object members{{"response", response_json(info_, echo_, ResponseStatus::in_progress, {}, {})},
                         {"prompt_progress", to_json(progress)}};
    event(out, "response.in_progress", with_timings(std::move(members)));
  }

  void update(size_t prompt, const SequenceNews& news, std::string& out) override {
    timings_.note(prompt, news);
    OutputDeltas deltas;
    tokens_.add(news.num_tokens, news.tokens, parser_.push(news.text, deltas));
    if (news.finish) parser_.finish(deltas);
    for (const OutputDelta& delta : deltas) add(delta, out);
    if (!news.finish) return;
    status_ = status_of(*news.finish);
    close(out, status_ == ResponseStatus::incomplete ? "incomplete" : "completed");
  }

  void end(std::string& out) override {
    usage_.reasoning_tokens = tokens_.num_reasoning();
    const char* type = status_ == ResponseStatus::incomplete ? "response.incomplete" : "response.completed";
    json::object members{{"response", response_json(info_, echo_, status_, std::move(output_), usage_)}};
    event(out, type, with_timings(std::move(members)));
  }

  void fail(const ApiError& error, std::string& out) override {
    json::object response = response_json(info_, echo_, ResponseStatus::failed, std::move(output_), {});
    response["error"] =
        json::object{{"code", error.code.value_or("server_error")}, {"message", error.message}};
    event(out, "response.failed", {{"response", std::move(response)}});
  }

 private:
  json::object with_timings(json::object members) const {
    if (info_.wants_timings && timings_.known()) members["timings"] = timings_.to_json();
    return members;
  }
  void event(std::string& out, std::string_view type, json::object members) {
    json::object data{{"type", type}, {"sequence_number", sequence_++}};
    for (auto& member : members) data[member.key()] = std::move(member.value());
    out += fmt::format("event: {}\ndata: {}\n\n", type, json::serialize(data));
  }
  // An event about the item at hand, or about its only part.
  void item_event(std::string& out, std::string_view type, json::object members) {
    members["item_id"] = id_;
    members["output_index"] = output_.size();
    if (open_ != Kind::call) members["content_index"] = 0;
    event(out, type, std::move(members));
  }

  void add(const OutputDelta& delta, std::string& out) {
    const bool goes_on = delta.kind == Kind::arguments || (delta.kind != Kind::call && open_ == delta.kind);
    if (!goes_on) open(delta, out);
    if (delta.kind == Kind::call) return;
    if (delta.kind == Kind::arguments) {
      call_.arguments += delta.text;
      item_event(out, "response.function_call_arguments.delta", {{"delta", delta.text}});
    } else if (delta.kind == Kind::reasoning) {
      text_ += delta.text;
      item_event(out, "response.reasoning_text.delta", {{"delta", delta.text}});
    } else {
      text_ += delta.text;
      json::array logprobs = chat_logprobs(info_.tokenizer(), tokens_.take_content());
      logprobs_.insert(logprobs_.end(), logprobs.begin(), logprobs.end());
      item_event(out, "response.output_text.delta",
                 with_timings({{"delta", delta.text}, {"logprobs", std::move(logprobs)}}));
    }
  }

  void open(const OutputDelta& delta, std::string& out) {
    close(out, "completed");
    open_ = delta.kind;
    id_ = item_id(info_, delta.kind, output_.size());
    text_.clear();
    logprobs_.clear();
    if (delta.kind == Kind::call) {
      call_ = {.id = call_ids(info_, 0).at(num_calls_++), .name = delta.text};
      event(out, "response.output_item.added",
            {{"output_index", output_.size()}, {"item", call_item(id_, "in_progress", call_)}});
      return;
    }
    event(out, "response.output_item.added",
          {{"output_index", output_.size()}, {"item", text_item(delta.kind, id_, "in_progress", nullptr)}});
    item_event(out, "response.content_part.added", {{"part", text_part(delta.kind, "")}});
  }

  void close(std::string& out, std::string_view status) {
    if (!open_) return;
    json::object item;
    if (open_ == Kind::call) {
      item_event(out, "response.function_call_arguments.done",
                 {{"name", call_.name}, {"arguments", call_.arguments}});
      item = call_item(id_, status, call_);
    } else {
      if (open_ == Kind::reasoning)
        item_event(out, "response.reasoning_text.done", {{"text", text_}});
      else
        item_event(out, "response.output_text.done", {{"text", text_}, {"logprobs", logprobs_}});
      item_event(out, "response.content_part.done", {{"part", text_part(*open_, text_, logprobs_)}});
      item = text_item(*open_, id_, status, &text_, std::move(logprobs_));
    }
    event(out, "response.output_item.done", {{"output_index", output_.size()}, {"item", item}});
    output_.push_back(std::move(item));
    open_.reset();
  }

  AnswerInfo info_;
  json::object echo_;
  OutputParser parser_;
  SectionTokens tokens_;
  json::array output_;        // finished items
  std::optional<Kind> open_;  // of the item at hand
  std::string id_;
  std::string text_;
  json::array logprobs_;  // of the text
  ToolCall call_;
  int32_t num_calls_ = 0;
  int64_t sequence_ = 0;
  RunningTimings timings_;
  ResponseStatus status_ = ResponseStatus::completed;
  Usage usage_;
};

}  // namespace

std::unique_ptr<Presenter> make_response_answer(AnswerInfo info, json::object echo) {
  return std::make_unique<ResponseAnswer>(std::move(info), std::move(echo));
}
std::unique_ptr<Presenter> make_response_stream(AnswerInfo info, json::object echo) {
  return std::make_unique<ResponseStream>(std::move(info), std::move(echo));
}

}  // namespace pagoda
