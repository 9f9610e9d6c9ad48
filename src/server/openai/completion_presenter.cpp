#include "server/openai/completion_presenter.h"

#include <algorithm>
#include <functional>

#include <boost/json.hpp>

#include "server/openai/token_text.h"

namespace pagoda {
namespace json = boost::json;

namespace {

constexpr std::string_view kObject = "text_completion";

// Numbering and offsets, the same for both forms.
class CompletionPresenter : public Presenter {
 public:
  CompletionPresenter(AnswerInfo info, size_t num_prompts, std::vector<EchoedPrompt> echo)
      : info_(std::move(info)),
        echo_(std::move(echo)),
        offsets_(num_prompts * static_cast<size_t>(info_.num_choices)) {}

  void prompt_done(size_t, const RequestTimings& timings) override { usage_.add(timings, info_.num_choices); }

 protected:
  size_t num_choices() const { return offsets_.size(); }
  size_t choice_index(size_t prompt, int32_t sequence) const {
    return prompt * static_cast<size_t>(info_.num_choices) + static_cast<size_t>(sequence);
  }
  void append_prompt(size_t prompt, std::span<const ScoredToken> scored, int64_t& offset,
                     CompletionLogprobs& out) {
    const EchoedPrompt& echoed = echo_[prompt];
    set_up(out);
    out.append_first(info_.tokenizer(), echoed.tokens.front(), offset);
    if (echoed.starts_with_bos) offset = 0;
    for (const ScoredToken& token : scored) out.append(info_.tokenizer(), token, offset);
  }
  void append_tokens(const SequenceNews& news, int64_t& offset, CompletionLogprobs& out) {
    set_up(out);
    for (const ScoredToken& token : news.tokens) out.append(info_.tokenizer(), token, offset);
  }

  void set_up(CompletionLogprobs& out) const {
    out.names = info_.token_names;
    out.max_top = info_.max_top_logprobs;
  }

  AnswerInfo info_;
  std::vector<EchoedPrompt> echo_;
  std::vector<int64_t> offsets_;  // per choice: characters so far
  Usage usage_;
};

class CompletionAnswer final : public CompletionPresenter {
 public:
  CompletionAnswer(AnswerInfo info, size_t num_prompts, std::vector<EchoedPrompt> echo)
      : CompletionPresenter(std::move(info), num_prompts, std::move(echo)),
        choices_(num_choices()),
        prompt_logprobs_(num_prompts) {}

  bool streams() const override { return false; }

  void begin(std::string&) override {
    for (size_t i = 0; i < choices_.size() && !echo_.empty(); ++i)
      choices_[i].text = echo_[i / static_cast<size_t>(info_.num_choices)].text;
  }

  void prompt_logprobs(size_t prompt, std::span<const ScoredToken> tokens, std::string&) override {
    if (info_.num_prompt_logprobs)
      prompt_logprobs_[prompt] = prompt_logprobs_json(info_.tokenizer(), tokens, *info_.num_prompt_logprobs);
    if (echo_.empty() || !info_.wants_logprobs) return;
    for (int32_t sequence = 0; sequence < info_.num_choices; ++sequence) {
      const size_t index = choice_index(prompt, sequence);
      append_prompt(prompt, tokens, offsets_[index], choices_[index].logprobs);
    }
  }

  void update(size_t prompt, const SequenceNews& news, std::string&) override {
    const size_t index = choice_index(prompt, news.index);
    Choice& choice = choices_[index];
    choice.text += news.text;
    append_tokens(news, offsets_[index], choice.logprobs);
    choice.token_ids.insert(choice.token_ids.end(), news.token_ids.begin(), news.token_ids.end());
    for (const ScoredToken& token : news.tokens) choice.sum_logprob += static_cast<double>(token.logprob);
    choice.num_scored += news.tokens.size();
    if (!news.finish) return;
    choice.finish = finish_name(*news.finish);
    choice.stop_reason = stop_reason(news);
  }

  void end(std::string& out) override {
    json::array choices;
    const auto per_prompt = static_cast<size_t>(info_.num_choices);
    for (size_t prompt = 0; prompt < prompt_logprobs_.size(); ++prompt)
      for (Choice* choice : best(std::span(choices_).subspan(prompt * per_prompt, per_prompt)))
        choices.push_back(to_json(*choice, choices.size(), prompt));
    out += full_answer(info_, kObject, std::move(choices), usage_);
  }

 private:
  struct Choice {
    std::string text;
    CompletionLogprobs logprobs;
    std::vector<int32_t> token_ids;
    double sum_logprob = 0;
    size_t num_scored = 0;
    std::string_view finish = "stop";
    json::value stop_reason = nullptr;

    double mean_logprob() const {
      return num_scored > 0 ? sum_logprob / static_cast<double>(num_scored) : 0.0;
    }
  };

  // The choices to return of one prompt: all, or with best_of the most probable per token first.
  std::vector<Choice*> best(std::span<Choice> choices) const {
    std::vector<Choice*> order;
    for (Choice& choice : choices) order.push_back(&choice);
    const auto num_returned = static_cast<size_t>(info_.num_returned);
    if (num_returned >= order.size()) return order;
    std::ranges::stable_sort(order, std::greater(), &Choice::mean_logprob);
    order.resize(num_returned);
    return order;
  }

  json::object to_json(Choice& choice, size_t index, size_t prompt) {
    json::value logprobs = nullptr;
    if (info_.wants_logprobs) logprobs = choice.logprobs.take();
    json::object entry = {{"index", index},
                          {"text", std::move(choice.text)},
                          {"logprobs", std::move(logprobs)},
                          {"finish_reason", choice.finish},
                          {"stop_reason", std::move(choice.stop_reason)}};
    for (const char* name : {"prompt_logprobs", "prompt_token_ids", "token_ids"}) entry[name] = nullptr;
    if (info_.num_prompt_logprobs) entry["prompt_logprobs"] = prompt_logprobs_[prompt];
    if (info_.wants_token_ids) {
      entry["prompt_token_ids"] = pagoda::to_json(info_.prompts[prompt]);
      entry["token_ids"] = pagoda::to_json(choice.token_ids);
    }
    return entry;
  }

  std::vector<Choice> choices_;
  std::vector<json::array> prompt_logprobs_;  // per prompt
};

class CompletionStream final : public CompletionPresenter {
 public:
  CompletionStream(AnswerInfo info, size_t num_prompts, std::vector<EchoedPrompt> echo)
      : CompletionPresenter(std::move(info), num_prompts, std::move(echo)),
        writer_(info_, kObject),
        begun_(num_choices()) {}

  bool streams() const override { return true; }
  void end(std::string& out) override { writer_.end(out, usage_); }
  void fail(const ApiError& error, std::string& out) override { ChunkWriter::error(out, error); }

  // With logprobs, the echoed prompt waits for them.
  void begin(std::string& out) override {
    if (info_.wants_logprobs) return;
    for (size_t i = 0; i < num_choices() && !echo_.empty(); ++i)
      writer_.choice(out, choice(i, echo_[i / static_cast<size_t>(info_.num_choices)].text));
  }

  void prompt_logprobs(size_t prompt, std::span<const ScoredToken> tokens, std::string& out) override {
    for (int32_t sequence = 0; sequence < info_.num_choices; ++sequence) {
      const size_t index = choice_index(prompt, sequence);
      CompletionLogprobs logprobs;
      append_prompt(prompt, tokens, offsets_[index], logprobs);
      json::object chunk = choice(index, echo_[prompt].text);
      chunk["logprobs"] = logprobs.take();
      writer_.choice(out, chunk);
    }
  }

  void progress(size_t prompt, const PromptProgress& progress, std::string& out) override {
    writer_.progress(out, prompt, progress, choice(choice_index(prompt, 0), ""));
  }

  void update(size_t prompt, const SequenceNews& news, std::string& out) override {
    writer_.count(prompt, news);
    if (news.text.empty() && news.tokens.empty() && news.token_ids.empty() && !news.finish) return;
    const size_t index = choice_index(prompt, news.index);
    json::object chunk = choice(index, news.text);
    if (info_.wants_logprobs) {
      CompletionLogprobs logprobs;
      append_tokens(news, offsets_[index], logprobs);
      chunk["logprobs"] = logprobs.take();
    }
    if (info_.wants_token_ids) chunk["token_ids"] = to_json(news.token_ids);
    if (news.finish) {
      chunk["finish_reason"] = finish_name(*news.finish);
      chunk["stop_reason"] = stop_reason(news);
    }
    writer_.choice(out, chunk);
  }

 private:
  json::object choice(size_t index, std::string_view text) {
    json::object piece = {
        {"index", index}, {"text", text}, {"logprobs", nullptr}, {"finish_reason", nullptr}};
    if (begun_[index] || !info_.wants_token_ids) return piece;
    begun_[index] = true;
    piece["prompt_token_ids"] = to_json(info_.prompts[index / static_cast<size_t>(info_.num_choices)]);
    return piece;
  }

  ChunkWriter writer_;
  std::vector<bool> begun_;  // per choice: its prompt's tokens were told
};

}  // namespace

std::unique_ptr<Presenter> make_completion_answer(AnswerInfo info, size_t num_prompts,
                                                  std::vector<EchoedPrompt> echo) {
  return std::make_unique<CompletionAnswer>(std::move(info), num_prompts, std::move(echo));
}

std::unique_ptr<Presenter> make_completion_stream(AnswerInfo info, size_t num_prompts,
                                                  std::vector<EchoedPrompt> echo) {
  return std::make_unique<CompletionStream>(std::move(info), num_prompts, std::move(echo));
}

}  // namespace pagoda
