// An engine over a FakeModel, and the oracle that says what each request must give when computed alone.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "engine/engine.h"
#include "sample/philox.h"
#include "support/fake_model.h"
#include "support/fake_tokenizer.h"
#include "support/memory_page_store.h"
#include "support/plain_kernels.h"
#include "support/recording_sink.h"

namespace pagoda::testing {

inline EngineConfig small_config() {
  return {.num_threads = 1,
          .max_context = 256,
          .max_batch_tokens = 32,
          .max_sequences = 8,
          .max_queued_requests = 64,
          .prefill_chunk = 32,
          .policy = "fcfs",
          .num_pages = 128};
}

struct ExpectedOutput {
  std::vector<int32_t> tokens;
  std::string text;
  FinishReason finish = FinishReason::length;
};

class EngineHarness {
 public:
  static constexpr int64_t kVocabSize = 64;

  // With num_slots > 0 the engine has a store for pages; `before` is one that an earlier engine has filled.
  explicit EngineHarness(EngineConfig config = small_config(), FakeModel::Options options = {},
                         int32_t num_slots = 0, const MemoryPageStore* before = nullptr,
                         std::optional<CostModel> costs = {})
      : oracle_(options) {
    options.vocab_size = kVocabSize;
    Engine::Parts parts{.model = std::make_unique<FakeModel>(options),
                        .tokenizer = std::make_shared<FakeTokenizer>(tokenizer_),
                        .end_tokens = {tokenizer_.eos_id()},
                        .pool = std::make_unique<ThreadPool>(config.num_threads),
                        .kernels = &kernels_,
                        .clock = clock,
                        .costs = std::move(costs)};
    if (num_slots > 0)
      parts.open_page_store = [&](PageMemory& memory) -> Result<std::unique_ptr<PageStore>> {
        auto opened = std::make_unique<MemoryPageStore>(memory, num_slots);
        if (before) before->move_contents_to(*opened);
        store = opened.get();
        return opened;
      };
    engine = *Engine::create(std::move(config), std::move(parts));
  }

  // Must be accepted.
  std::shared_ptr<RecordingSink> submit(const Request& request) {
    auto sink = std::make_shared<RecordingSink>(request.num_sequences);
    const auto id = engine->submit(request, sink);
    EXPECT_TRUE(id) << id.error().message;
    last_id = id.value_or(0);
    return sink;
  }
  // Steps until nothing is left; checks the pages after each step.
  int run() {
    int num_steps = 0;
    while (engine->step()) {
      engine->check_invariants();
      ++num_steps;
      clock->advance_ns(1'000'000);
      if (num_steps > 100000) ADD_FAILURE() << "the engine does not come to an end";
      if (num_steps > 100000) break;
    }
    expect_idle();
    return num_steps;
  }
  void expect_idle() const {
    const EngineStats stats = engine->stats();
    EXPECT_EQ(stats.num_running, 0);
    EXPECT_EQ(stats.num_waiting, 0);
    EXPECT_EQ(stats.kv_pages_used, 0) << "pages leaked";
  }

  // What sequence `index` of the request gives, from a plain loop over a list of tokens.
  ExpectedOutput expected(const Request& request, int32_t index = 0) const {
    const EngineConfig& config = engine->config();
    std::vector<int32_t> ends = request.stop_token_ids;
    if (!request.ignore_eos) ends.push_back(tokenizer_.eos_id());
    const int64_t max_tokens =
        std::min(request.max_tokens, config.max_context - static_cast<int64_t>(request.prompt.size()));
    const uint64_t seed = derive_seed(request.sampling.seed.value(), static_cast<uint64_t>(index));
    Sampler sampler(kernels_, kVocabSize);
    ExpectedOutput output;
    std::vector<int32_t> context = request.prompt;
    while (std::ssize(output.tokens) < max_tokens) {
      std::vector<float> logits = oracle_.logits_of(context);
      const bool too_early = std::ssize(output.tokens) < request.min_tokens;
      const SamplingState state{
          .prompt = request.prompt,
          .output = output.tokens,
          .banned = too_early ? std::span<const int32_t>(ends) : std::span<const int32_t>(),
          .seed = seed,
          .position = std::ssize(context)};
      const int32_t token = sampler.sample(logits, request.sampling, state).token;
      output.tokens.push_back(token);
      context.push_back(token);
      const bool is_end = std::ranges::find(ends, token) != ends.end();
      if (is_end || cut_at_stop(request, is_end, output)) {
        output.finish = FinishReason::stop;
        if (!is_end) return output;
        break;
      }
    }
    const bool hides_last = output.finish == FinishReason::stop && !request.include_stop_in_output;
    output.text = decode(request, output.tokens, hides_last ? 1 : 0, /*finish=*/1);
    return output;
  }

  std::shared_ptr<ManualClock> clock = std::make_shared<ManualClock>();
  std::unique_ptr<Engine> engine;
  MemoryPageStore* store = nullptr;  // the engine's
  RequestId last_id = 0;

 private:
  std::string decode(const Request& request, const std::vector<int32_t>& tokens, size_t num_hidden,
                     int finish) const {
    Detokenizer detokenizer(tokenizer_, request.skip_special_tokens ? Detokenizer::SpecialText::hide
                                                                    : Detokenizer::SpecialText::show);
    std::string text;
    for (size_t i = 0; i + num_hidden < tokens.size(); ++i) detokenizer.push(tokens[i], text);
    if (finish != 0) detokenizer.finish(text);
    return text;
  }
  // Looks for stop strings in all of the text beyond the first min_tokens.
  bool cut_at_stop(const Request& request, bool is_end, ExpectedOutput& output) const {
    if (is_end) return false;
    const std::string text = decode(request, output.tokens, 0, 0);
    const auto num_early = std::min<int64_t>(request.min_tokens, std::ssize(output.tokens));
    const std::string early =
        decode(request, {output.tokens.begin(), output.tokens.begin() + num_early}, 0, 0);
    size_t best_end = std::string::npos;
    size_t best_begin = 0;
    for (const std::string& stop : request.stop) {
      const size_t begin = text.find(stop, early.size());
      if (begin == std::string::npos) continue;
      const size_t end = begin + stop.size();
      if (end > best_end || (end == best_end && begin >= best_begin)) continue;
      best_end = end;
      best_begin = begin;
    }
    if (best_end == std::string::npos) return false;
    output.text = text.substr(0, request.include_stop_in_output ? best_end : best_begin);
    return true;
  }

  const FakeTokenizer tokenizer_ = FakeTokenizer::letters(kVocabSize);
  const Kernels kernels_ = plain_kernels();
  const FakeModel oracle_;
};

inline void expect_output(const RecordingSink::Output& actual, const ExpectedOutput& expected) {
  EXPECT_EQ(actual.tokens, expected.tokens);
  EXPECT_EQ(actual.text, expected.text);
  ASSERT_TRUE(actual.finish);
  EXPECT_EQ(*actual.finish, expected.finish);
}

}  // namespace pagoda::testing
