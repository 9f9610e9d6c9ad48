#include "server/openai/chat_presenter.h"

#include <vector>

#include <boost/json.hpp>

#include "server/openai/token_text.h"

namespace pagoda {
namespace json = boost::json;

namespace {

class ChatAnswer final : public Presenter {
 public:
  explicit ChatAnswer(AnswerInfo info)
      : info_(std::move(info)), choices_(static_cast<size_t>(info_.num_choices)) {}

  bool streams() const override { return false; }
  void begin(std::string&) override {}
  void prompt_logprobs(size_t, std::span<const ScoredToken> tokens, std::string&) override {
    extra_["prompt_logprobs"] =
        prompt_logprobs_json(info_.tokenizer(), tokens, info_.num_prompt_logprobs.value_or(0));
  }
  void prompt_done(size_t, const RequestTimings& timings) override { usage_.add(timings); }
  void fail(const ApiError&, std::string&) override {}

  void update(size_t, const SequenceNews& news, std::string&) override {
    Choice& choice = choices_[static_cast<size_t>(news.index)];
    choice.text += news.text;
    for (json::value& entry : chat_logprobs(info_.tokenizer(), news.tokens, info_.token_names))
      choice.logprobs.push_back(std::move(entry));
    choice.token_ids.insert(choice.token_ids.end(), news.token_ids.begin(), news.token_ids.end());
    if (!news.finish) return;
    choice.finish = finish_name(*news.finish);
    choice.stop_reason = stop_reason(news);
  }

  void end(std::string& out) override {
    json::array choices;
    for (Choice& choice : choices_) {
      json::value logprobs = nullptr;
      if (info_.wants_logprobs)
        logprobs = json::object{{"content", std::move(choice.logprobs)}, {"refusal", nullptr}};
      json::object entry = {
          {"index", choices.size()},
          {"message",
           json::object{{"role", "assistant"}, {"content", std::move(choice.text)}, {"refusal", nullptr}}},
          {"logprobs", std::move(logprobs)},
          {"finish_reason", choice.finish},
          {"stop_reason", std::move(choice.stop_reason)}};
      if (info_.wants_token_ids) entry["token_ids"] = to_json(choice.token_ids);
      choices.push_back(std::move(entry));
    }
    if (info_.wants_token_ids) extra_["prompt_token_ids"] = to_json(info_.prompts.front());
    out += full_answer(info_, "chat.completion", std::move(choices), usage_, extra_);
  }

 private:
  struct Choice {
    std::string text;
    json::array logprobs;
    std::vector<int32_t> token_ids;
    std::string_view finish = "stop";
    json::value stop_reason = nullptr;
  };
  AnswerInfo info_;
  std::vector<Choice> choices_;
  json::object extra_;
  Usage usage_;
};

class ChatStream final : public Presenter {
 public:
  explicit ChatStream(AnswerInfo info) : info_(std::move(info)), writer_(info_, "chat.completion.chunk") {}

  bool streams() const override { return true; }
  void prompt_logprobs(size_t, std::span<const ScoredToken>, std::string&) override {}
  void prompt_done(size_t, const RequestTimings& timings) override { usage_.add(timings); }
  void end(std::string& out) override { writer_.end(out, usage_); }
  void fail(const ApiError& error, std::string& out) override { ChunkWriter::error(out, error); }

  void begin(std::string& out) override {
    json::object extra;
    if (info_.wants_token_ids) extra["prompt_token_ids"] = to_json(info_.prompts.front());
    for (int32_t index = 0; index < info_.num_choices; ++index)
      writer_.choice(out, choice(index, json::object{{"role", "assistant"}, {"content", ""}}), extra);
  }

  void update(size_t, const SequenceNews& news, std::string& out) override {
    writer_.count(news.num_tokens);
    if (!news.text.empty() || !news.tokens.empty() || !news.token_ids.empty()) {
      json::object content = choice(news.index, json::object{{"content", news.text}});
      if (info_.wants_logprobs)
        content["logprobs"] =
            json::object{{"content", chat_logprobs(info_.tokenizer(), news.tokens, info_.token_names)},
                         {"refusal", nullptr}};
      if (info_.wants_token_ids) content["token_ids"] = to_json(news.token_ids);
      writer_.choice(out, content);
    }
    if (!news.finish) return;
    json::object last = choice(news.index, json::object{});
    last["finish_reason"] = finish_name(*news.finish);
    last["stop_reason"] = stop_reason(news);
    writer_.choice(out, last);
  }

 private:
  static json::object choice(int32_t index, json::object delta) {
    return {{"index", index}, {"delta", std::move(delta)}, {"logprobs", nullptr}, {"finish_reason", nullptr}};
  }

  AnswerInfo info_;
  ChunkWriter writer_;
  Usage usage_;
};

}  // namespace

std::unique_ptr<Presenter> make_chat_answer(AnswerInfo info) {
  return std::make_unique<ChatAnswer>(std::move(info));
}
std::unique_ptr<Presenter> make_chat_stream(AnswerInfo info) {
  return std::make_unique<ChatStream>(std::move(info));
}

}  // namespace pagoda
