#include "server/openai/chat_presenter.h"

#include <utility>
#include <vector>

#include <boost/json.hpp>

#include "server/openai/chat_output.h"
#include "server/openai/section_tokens.h"
#include "server/openai/token_text.h"

namespace pagoda {
namespace json = boost::json;

namespace {

class ChatAnswer final : public Presenter {
 public:
  explicit ChatAnswer(AnswerInfo info) : info_(std::move(info)) {
    for (int32_t index = 0; index < info_.num_choices; ++index) choices_.emplace_back(*info_.output);
  }

  bool streams() const override { return false; }
  void prompt_logprobs(size_t, std::span<const ScoredToken> tokens, std::string&) override {
    extra_["prompt_logprobs"] =
        prompt_logprobs_json(info_.tokenizer(), tokens, info_.num_prompt_logprobs.value_or(0));
  }
  void prompt_done(size_t, const RequestTimings& timings) override { usage_.add(timings, info_.num_choices); }

  void update(size_t, const SequenceNews& news, std::string&) override {
    Choice& choice = choices_[static_cast<size_t>(news.index)];
    choice.sections.add(news.num_tokens, {}, choice.text.push(news.text));
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
      usage_.reasoning_tokens += choice.sections.num_reasoning();
      json::value logprobs = nullptr;
      if (info_.wants_logprobs)
        logprobs = json::object{{"content", std::move(choice.logprobs)}, {"refusal", nullptr}};
      const auto index = static_cast<int32_t>(choices.size());
      ParsedMessage message = choice.text.finish(call_ids(info_, index));
      message.content.insert(0, info_.echo);
      if (!message.calls.empty() && choice.finish == "stop") choice.finish = "tool_calls";
      json::object entry = {{"index", index},
                            {"message", to_chat_message(std::move(message))},
                            {"logprobs", std::move(logprobs)},
                            {"finish_reason", choice.finish},
                            {"stop_reason", std::move(choice.stop_reason)}};
      entry["token_ids"] = info_.wants_token_ids ? json::value(to_json(choice.token_ids)) : nullptr;
      choices.push_back(std::move(entry));
    }
    extra_["prompt_token_ids"] =
        info_.wants_token_ids ? json::value(to_json(info_.prompts.front())) : nullptr;
    out += full_answer(info_, "chat.completion", std::move(choices), usage_, extra_);
  }

 private:
  struct Choice {
    explicit Choice(const OutputPlan& plan) : text(plan) {}
    MessageCollector text;
    SectionTokens sections;
    json::array logprobs;
    std::vector<int32_t> token_ids;
    std::string_view finish = "stop";
    json::value stop_reason = nullptr;
  };
  AnswerInfo info_;
  std::vector<Choice> choices_;
  json::object extra_{{"prompt_logprobs", nullptr}};
  Usage usage_;
};

class ChatStream final : public Presenter {
 public:
  explicit ChatStream(AnswerInfo info) : info_(std::move(info)), writer_(info_, "chat.completion.chunk") {
    for (int32_t index = 0; index < info_.num_choices; ++index)
      choices_.push_back(
          {.parser = {*info_.output, ToolCallParserOptions::Tell::at_once}, .ids = call_ids(info_, index)});
  }

  bool streams() const override { return true; }
  void prompt_done(size_t, const RequestTimings& timings) override { usage_.add(timings, info_.num_choices); }
  void end(std::string& out) override { writer_.end(out, usage_); }
  void fail(const ApiError& error, std::string& out) override { ChunkWriter::error(out, error); }

  void begin(std::string& out) override {
    json::object extra;
    if (info_.wants_token_ids) extra["prompt_token_ids"] = to_json(info_.prompts.front());
    for (int32_t index = 0; index < info_.num_choices; ++index)
      writer_.choice(out, choice(index, json::object{{"role", "assistant"}, {"content", ""}}), extra);
    for (int32_t index = 0; index < info_.num_choices && !info_.echo.empty(); ++index)
      writer_.choice(out, choice(index, json::object{{"content", info_.echo}}));
  }

  void progress(size_t prompt, const PromptProgress& progress, std::string& out) override {
    writer_.progress(out, prompt, progress, choice(0, json::object{}));
  }

  void update(size_t prompt, const SequenceNews& news, std::string& out) override {
    Choice& state = choices_[static_cast<size_t>(news.index)];
    OutputDeltas deltas;
    usage_.reasoning_tokens -= state.sections.num_reasoning();
    state.sections.add(news.num_tokens, {}, state.parser.push(news.text, deltas));
    usage_.reasoning_tokens += state.sections.num_reasoning();
    writer_.count(prompt, news, usage_.reasoning_tokens);
    if (news.finish) state.parser.finish(deltas);
    // What belongs to the tokens goes with the first delta, or with an empty one.
    json::object of_tokens;
    if (info_.wants_logprobs && !news.tokens.empty())
      of_tokens["logprobs"] =
          json::object{{"content", chat_logprobs(info_.tokenizer(), news.tokens, info_.token_names)},
                       {"refusal", nullptr}};
    if (info_.wants_token_ids && !news.token_ids.empty()) of_tokens["token_ids"] = to_json(news.token_ids);
    if (deltas.empty() && !of_tokens.empty()) deltas.push_back({});
    for (const OutputDelta& delta : deltas) {
      json::object piece = choice(news.index, to_chat_delta(delta, state.ids, state.num_calls));
      for (auto& member : std::exchange(of_tokens, {})) piece[member.key()] = std::move(member.value());
      writer_.choice(out, piece);
    }
    if (!news.finish) return;
    json::object last = choice(news.index, json::object{});
    last["finish_reason"] =
        state.num_calls > 0 && *news.finish == FinishReason::stop ? "tool_calls" : finish_name(*news.finish);
    last["stop_reason"] = stop_reason(news);
    writer_.choice(out, last);
  }

 private:
  static json::object choice(int32_t index, json::object delta) {
    return {{"index", index}, {"delta", std::move(delta)}, {"logprobs", nullptr}, {"finish_reason", nullptr}};
  }

  struct Choice {
    OutputParser parser;
    CallIds ids;
    SectionTokens sections;
    int32_t num_calls = 0;
  };

  AnswerInfo info_;
  ChunkWriter writer_;
  std::vector<Choice> choices_;
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
