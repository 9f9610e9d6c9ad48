// A served model without weights: FakeModel under a tokenizer that knows every byte, with a ChatML template.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "engine/engine.h"
#include "server/served_model.h"
#include "support/fake_model.h"
#include "support/fake_tokenizer.h"
#include "support/plain_kernels.h"

namespace pagoda::testing {

inline constexpr int32_t kImEnd = 0;  // ends a sequence
inline constexpr int32_t kImStart = 1;
inline constexpr int32_t kBos = 2;

// Three special tokens, all 256 bytes, and two-letter tokens up to 512.
inline FakeTokenizer byte_tokenizer() {
  std::vector<std::string> texts = {"<|im_end|>", "<|im_start|>", "<s>"};
  for (int byte = 0; byte < 256; ++byte) texts.emplace_back(1, static_cast<char>(byte));
  for (size_t pair = 0; texts.size() < 512; ++pair)
    texts.push_back({static_cast<char>('a' + pair % 26), static_cast<char>('a' + pair / 26)});
  return FakeTokenizer(std::move(texts), {kImEnd, kImStart, kBos}, kBos, kImEnd);
}

inline constexpr const char* kChatMl =
    "{% if tools %}<|im_start|>system\nTools: {{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.reasoning_content %}<think>{{ message.reasoning_content }}</think>{% endif %}"
    "{{ message.content if message.content is not none else '' }}"
    "{% for call in message.tool_calls or [] %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor "
    "%}"
    "<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

// What a client has to write somewhere in a chat to make the fake model answer with `text`: it stands between
// the control characters U+0002 and U+0003. The last such text counts.
inline std::string say(std::string_view text) {
  return "\x02" + std::string(text) + "\x03";
}

// The script of that: the next token of the text after the header of the answer, an end token after all.
inline int32_t next_said(const Tokenizer& tokenizer, std::span<const int32_t> context) {
  std::string text;
  size_t answer = context.size();
  for (size_t i = 0; i < context.size(); ++i) {
    tokenizer.append_bytes(context[i], text);
    if (context[i] == kImStart) answer = i;
  }
  const size_t open = text.rfind('\x02');
  const size_t close = text.rfind('\x03');
  if (open == std::string::npos || close == std::string::npos || close < open) return -1;
  const auto said =
      tokenizer.encode(std::string_view(text).substr(open + 1, close - open - 1), Specials::parse);
  const auto header = tokenizer.encode("<|im_start|>assistant\n", Specials::parse);
  if (context.size() < answer + header->size()) return -1;
  const size_t num_said = context.size() - answer - header->size();
  return num_said < said->size() ? (*said)[num_said] : kImEnd;
}

// Holds the engine in its forward pass while closed.
class Gate {
 public:
  void close() {
    std::lock_guard lock(mutex_);
    open_ = false;
  }
  void open() {
    {
      std::lock_guard lock(mutex_);
      open_ = true;
    }
    changed_.notify_all();
  }
  void pass() {
    std::unique_lock lock(mutex_);
    holds_ = !open_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
    holds_ = false;
  }
  // Until a forward pass stands here.
  void wait_until_held() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return holds_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = true;
  bool holds_ = false;
};

inline EngineConfig fake_engine_config() {
  return {.num_threads = 1,
          .max_context = 2048,
          .max_batch_tokens = 256,
          .max_sequences = 64,
          .max_queued_requests = 64,
          .prefill_chunk = 128,
          .policy = "fcfs",
          .num_pages = 4096,
          .seed = 7};
}

// The engine is running. `on_forward` is called in every step.
inline ServedModel make_fake_served_model(EngineConfig config,
                                          std::function<void(const ForwardBatch&)> on_forward = {},
                                          int32_t poison_token = -1) {
  const auto kernels = std::make_shared<const Kernels>(plain_kernels());
  auto tokenizer = std::make_shared<FakeTokenizer>(byte_tokenizer());
  FakeModel::Options options{
      .vocab_size = tokenizer->vocab_size(),
      .max_context = config.max_context,
      .poison_token = poison_token,
      .on_forward =
          [kernels, on_forward = std::move(on_forward)](const ForwardBatch& batch) {
            if (on_forward) on_forward(batch);
          },
      .script = [tokenizer](std::span<const int32_t> context) { return next_said(*tokenizer, context); }};
  const int num_threads = config.num_threads;
  Engine::Parts parts{.model = std::make_unique<FakeModel>(std::move(options)),
                      .tokenizer = tokenizer,
                      .end_tokens = {tokenizer->eos_id()},
                      .pool = std::make_unique<ThreadPool>(num_threads),
                      .kernels = kernels.get(),
                      .clock = std::make_shared<SteadyClock>()};
  Result<std::unique_ptr<Engine>> engine = Engine::create(std::move(config), std::move(parts));
  PAGODA_CHECK(engine.has_value(), "{}", engine.error().message);
  (*engine)->start();
  Result<ChatTemplate> chat_template = ChatTemplate::compile(kChatMl);
  PAGODA_CHECK(chat_template.has_value(), "{}", chat_template.error().message);
  return make_served_model({"fake", "org/fake-model"}, std::move(*engine), std::move(*chat_template), {},
                           {.tool_calls = &kHermesCalls, .reasoning = find_reasoning_format("think")});
}

inline std::shared_ptr<const ServedModel> fake_served_model(
    EngineConfig config, std::function<void(const ForwardBatch&)> on_forward = {},
    int32_t poison_token = -1) {
  return std::make_shared<const ServedModel>(
      make_fake_served_model(std::move(config), std::move(on_forward), poison_token));
}

}  // namespace pagoda::testing
