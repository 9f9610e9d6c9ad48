// The whole way with a small real model: folder -> tokenizer, weights, engine -> the reference's tokens.
#include "engine/load_engine.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "model/golden.h"
#include "support/recording_sink.h"

namespace pagoda {
namespace {

namespace fs = std::filesystem;
using testing::RecordingSink;

constexpr int kNumPrompts = 3;
constexpr size_t kVocabSize = 512;
constexpr double kLogprobTolerance = 6.3e-5;  // the manifest's, for f32

// A Hugging Face folder of a tiny llama with its tokenizer, put together from the test data.
class LoadEngineTest : public ::testing::Test {
 protected:
  LoadEngineTest() {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    const fs::path data = PAGODA_TEST_DATA;
    for (const char* name : {"config.json", "generation_config.json", "model.safetensors"})
      fs::copy(data / "models/llama_gqa" / name, folder_);
    for (const char* name : {"tokenizer.json", "tokenizer_config.json"})
      fs::copy(data / "tokenizers/tiny" / name, folder_);
  }
  ~LoadEngineTest() override { fs::remove_all(folder_); }

  LoadedEngine load(EngineOptions options, std::string_view isa = "") {
    options.num_threads = 2;
    auto loaded = load_engine(folder_, options, isa, {});
    if (!loaded) throw std::runtime_error(loaded.error().message);
    return std::move(*loaded);
  }
  Request greedy_request(int prompt) const {
    Request request;
    request.prompt = golden_.ints(fmt::format("prompt{}.ids", prompt));
    request.sampling = {.temperature = 0, .num_logprobs = 0};
    request.max_tokens = 32;
    request.ignore_eos = true;
    request.want_prompt_logprobs = true;
    return request;
  }
  // The reference's log probability of a token after the first num_tokens of a prompt.
  double golden_logprob(int prompt, size_t num_tokens, int32_t token) const {
    const auto logits = golden_.floats(fmt::format("prompt{}.logits", prompt));
    const auto row = std::span(logits).subspan((num_tokens - 1) * kVocabSize, kVocabSize);
    double total = 0;
    for (const float logit : row) total += std::exp(static_cast<double>(logit));
    return row[static_cast<size_t>(token)] - std::log(total);
  }
  void expect_golden(const RecordingSink& sink, int prompt) const {
    SCOPED_TRACE(fmt::format("prompt {}", prompt));
    const RecordingSink::Output& output = sink.outputs[0];
    EXPECT_EQ(output.tokens, golden_.ints(fmt::format("prompt{}.greedy_ids", prompt)));
    const auto ids = golden_.ints(fmt::format("prompt{}.ids", prompt));
    EXPECT_NEAR(output.events.at(0).logprob, golden_logprob(prompt, ids.size(), output.tokens.at(0)),
                kLogprobTolerance);
    ASSERT_EQ(sink.prompt_logprobs.size(), ids.size() - 1);
    for (size_t i = 1; i < ids.size(); ++i)
      EXPECT_NEAR(sink.prompt_logprobs[i - 1].logprob, golden_logprob(prompt, i, ids[i]), kLogprobTolerance)
          << i;
  }
  // All prompts at once.
  std::vector<std::shared_ptr<RecordingSink>> run_all(Engine& engine) const {
    std::vector<std::shared_ptr<RecordingSink>> sinks;
    for (int prompt = 0; prompt < kNumPrompts; ++prompt) {
      sinks.push_back(std::make_shared<RecordingSink>());
      const auto id = engine.submit(greedy_request(prompt), sinks.back());
      EXPECT_TRUE(id) << id.error().message;
    }
    while (engine.step()) engine.check_invariants();
    return sinks;
  }

  const fs::path folder_ = fs::path(::testing::TempDir()) / fmt::format("pagoda_load_engine_{}", getpid());
  const testing::GoldenFile golden_{std::string(PAGODA_TEST_DATA) + "/models/llama_gqa/golden.safetensors"};
};

TEST_F(LoadEngineTest, GivesTheReferencesTokens) {
  for (const int32_t chunk : {5, 64, 256}) {
    SCOPED_TRACE(chunk);
    LoadedEngine loaded = load({.max_batch_tokens = chunk, .max_sequences = 4});
    const auto sinks = run_all(*loaded.engine);
    for (int prompt = 0; prompt < kNumPrompts; ++prompt)
      expect_golden(*sinks[static_cast<size_t>(prompt)], prompt);
  }
}

TEST_F(LoadEngineTest, PreemptionChangesNoBit) {
  LoadedEngine roomy = load({.max_batch_tokens = 64, .max_sequences = 3});
  const auto expected = run_all(*roomy.engine);
  const uint64_t page_bytes = roomy.engine->model_info().kv_shape.page_bytes();
  LoadedEngine tight = load({.max_batch_tokens = 64, .max_sequences = 3, .max_kv_bytes = 13 * page_bytes});
  const auto sinks = run_all(*tight.engine);
  EXPECT_GT(tight.engine->stats().num_preemptions, 0u);
  for (size_t i = 0; i < sinks.size(); ++i) {
    EXPECT_EQ(sinks[i]->outputs[0].tokens, expected[i]->outputs[0].tokens);
    for (size_t token = 0; token < sinks[i]->outputs[0].events.size(); ++token)
      EXPECT_EQ(sinks[i]->outputs[0].events[token].logprob, expected[i]->outputs[0].events[token].logprob);
  }
}

TEST_F(LoadEngineTest, EveryIsaGivesTheReferencesTokens) {
  for (const Isa isa : available_isas(detect_cpu())) {
    SCOPED_TRACE(to_string(isa));
    LoadedEngine loaded = load({.max_batch_tokens = 64, .max_sequences = 4}, to_string(isa));
    const auto sinks = run_all(*loaded.engine);
    for (int prompt = 0; prompt < kNumPrompts; ++prompt)
      expect_golden(*sinks[static_cast<size_t>(prompt)], prompt);
  }
}

TEST_F(LoadEngineTest, BringsWhatSurroundsAModel) {
  const LoadedEngine loaded = load({});
  EXPECT_THAT(loaded.end_tokens, ::testing::ElementsAre(1, 3))
      << "generation_config.json and the tokenizer's";
  EXPECT_TRUE(loaded.chat_template);
  EXPECT_EQ(loaded.tokenizer->vocab_size(), 512);
  const SamplingParams sampling = default_sampling(loaded.defaults);
  EXPECT_FLOAT_EQ(sampling.temperature, 0.6f);
  EXPECT_FLOAT_EQ(sampling.top_p, 0.9f);
  EXPECT_EQ(sampling.top_k, 0);
  ASSERT_EQ(loaded.banner.size(), 5u);
  EXPECT_THAT(loaded.banner[0], ::testing::HasSubstr("llama"));
}

TEST_F(LoadEngineTest, TextOfTokensIsThatOfTheTokenizer) {
  LoadedEngine loaded = load({});
  Request request = greedy_request(1);
  const auto sink = std::make_shared<RecordingSink>();
  ASSERT_TRUE(loaded.engine->submit(request, sink));
  while (loaded.engine->step()) {
  }
  Detokenizer detokenizer(*loaded.tokenizer, Detokenizer::SpecialText::hide);
  std::string text;
  for (const int32_t token : sink->outputs[0].tokens) detokenizer.push(token, text);
  detokenizer.finish(text);
  EXPECT_EQ(sink->outputs[0].text, text);
  EXPECT_FALSE(text.empty());
}

TEST_F(LoadEngineTest, ReportsProgress) {
  std::vector<double> fractions;
  const LoadProgress progress{
      [](void* context, double fraction) { static_cast<std::vector<double>*>(context)->push_back(fraction); },
      &fractions};
  ASSERT_TRUE(load_engine(folder_, {.num_threads = 1}, "", progress));
  ASSERT_FALSE(fractions.empty());
  EXPECT_TRUE(std::ranges::is_sorted(fractions));
  EXPECT_EQ(fractions.back(), 1.0);
}

TEST_F(LoadEngineTest, ErrorsSayWhatIsWrong) {
  const auto expect_error = [&](const EngineOptions& options, std::string_view isa, ErrorCode code,
                                const char* part) {
    const auto loaded = load_engine(folder_, options, isa, {});
    ASSERT_FALSE(loaded) << part;
    EXPECT_EQ(loaded.error().code, code) << loaded.error().message;
    EXPECT_THAT(loaded.error().message, ::testing::HasSubstr(part));
  };
  expect_error({}, "sse9", ErrorCode::invalid_argument, "sse9");
  expect_error({.memory_bytes = 1000}, "", ErrorCode::out_of_memory, "1000");
  expect_error({.num_threads = -1}, "", ErrorCode::invalid_argument, "--threads");
  expect_error({.max_context = 1 << 20}, "", ErrorCode::invalid_argument, "--max-context");
  fs::remove(folder_ / "tokenizer.json");
  expect_error({}, "", ErrorCode::not_found, "tokenizer");
  fs::remove_all(folder_);
  expect_error({}, "", ErrorCode::not_found, folder_.c_str());
}

TEST_F(LoadEngineTest, ADamagedTemplateIsNoHindrance) {
  std::ofstream(folder_ / "chat_template.jinja") << "{% if %}";
  EXPECT_FALSE(load({}).chat_template);
}

}  // namespace
}  // namespace pagoda
