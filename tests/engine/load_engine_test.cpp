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

// What must change no bit of the output, for each type of KV cache.
class KvTypeTest : public LoadEngineTest, public ::testing::WithParamInterface<KvType> {
 protected:
  static constexpr int32_t kForks = 3;

  EngineOptions options(int32_t chunk = 64) const {
    return {.max_batch_tokens = chunk, .max_sequences = 8, .kv_type = GetParam()};
  }
  EngineOptions with_disk() const {
    EngineOptions changed = options();
    changed.kv_disk = folder_ / "kv";
    changed.kv_disk_bytes = uint64_t{16} << 20;
    return changed;
  }
  // A prompt of several pages, the last of them partly filled.
  Request long_request(int32_t num_sequences = 1) const {
    Request request;
    for (int i = 0; i < 4; ++i) {
      const auto ids = golden_.ints(fmt::format("prompt{}.ids", i % kNumPrompts));
      request.prompt.insert(request.prompt.end(), ids.begin(), ids.end());
    }
    request.prompt.resize(request.prompt.size() / kPageTokens * kPageTokens - 5);
    request.sampling = {.temperature = 1, .seed = 3, .num_logprobs = 0};
    request.max_tokens = 40;
    request.ignore_eos = true;
    request.num_sequences = num_sequences;
    return request;
  }
  static std::shared_ptr<RecordingSink> run(Engine& engine, const Request& request) {
    const auto sink = std::make_shared<RecordingSink>(request.num_sequences);
    EXPECT_TRUE(engine.submit(request, sink));
    while (engine.step()) engine.check_invariants();
    return sink;
  }
  // Each request alone, without a cache, in one chunk.
  std::shared_ptr<RecordingSink> cold(const Request& request) {
    EngineOptions plain = options(512);
    plain.prefix_cache = false;
    return run(*load(plain).engine, request);
  }
  static void expect_same(const RecordingSink& a, const RecordingSink& b) {
    for (size_t i = 0; i < std::min(a.outputs.size(), b.outputs.size()); ++i) {
      ASSERT_EQ(a.outputs[i].tokens, b.outputs[i].tokens) << i;
      for (size_t token = 0; token < a.outputs[i].events.size(); ++token)
        ASSERT_EQ(a.outputs[i].events[token].logprob, b.outputs[i].events[token].logprob) << token;
    }
  }
};

TEST_P(KvTypeTest, ChunksHitsAndForks) {
  const auto expected = cold(long_request(kForks));
  expect_same(*cold(long_request()), *expected);
  for (const int32_t chunk : {9, 16, 64}) {
    LoadedEngine loaded = load(options(chunk));
    EXPECT_EQ(loaded.engine->model_info().kv_shape.type, GetParam());
    expect_same(*run(*loaded.engine, long_request(kForks)), *expected);
    const auto hit = run(*loaded.engine, long_request(kForks));
    EXPECT_GT(hit->timings.num_cached_tokens, 0);
    expect_same(*hit, *expected);
  }
}

TEST_P(KvTypeTest, Preemption) {
  const auto expected = cold(long_request());
  const auto expected_of_others = run_all(*load(options()).engine);
  EngineOptions tight = options(16);
  const uint64_t page_bytes = load(options()).engine->model_info().kv_shape.page_bytes();
  const auto prompt_pages = static_cast<uint64_t>(std::ssize(long_request().prompt)) / kPageTokens;
  tight.max_kv_bytes = (prompt_pages + 5) * page_bytes;
  LoadedEngine loaded = load(tight);
  const auto sink = std::make_shared<RecordingSink>();
  ASSERT_TRUE(loaded.engine->submit(long_request(), sink));
  const auto others = run_all(*loaded.engine);
  EXPECT_GT(loaded.engine->stats().num_preemptions, 0u);
  expect_same(*sink, *expected);
  for (size_t i = 0; i < others.size(); ++i) expect_same(*others[i], *expected_of_others[i]);
}

TEST_P(KvTypeTest, RestartWithStoredPages) {
  const auto expected = cold(long_request());
  const auto num_pages = static_cast<uint64_t>(std::ssize(long_request().prompt)) / kPageTokens;
  {
    LoadedEngine loaded = load(with_disk());
    expect_same(*run(*loaded.engine, long_request()), *expected);
    while (loaded.engine->stats().prefix_cache.stored_pages < num_pages) run(*loaded.engine, long_request());
  }
  {
    LoadedEngine loaded = load(with_disk());
    const auto restored = run(*loaded.engine, long_request());
    EXPECT_EQ(restored->timings.num_swapped_tokens, static_cast<int64_t>(num_pages) * kPageTokens);
    expect_same(*restored, *expected);
  }
  EngineOptions other_type = with_disk();
  other_type.kv_type = GetParam() == KvType::bf16 ? KvType::int8 : KvType::bf16;
  EXPECT_EQ(run(*load(other_type).engine, long_request())->timings.num_cached_tokens, 0);
}

INSTANTIATE_TEST_SUITE_P(Types, KvTypeTest, ::testing::Values(KvType::f32, KvType::bf16, KvType::int8),
                         [](const auto& tested) { return std::string(to_string(tested.param)); });

TEST_F(LoadEngineTest, ADamagedTemplateIsNoHindrance) {
  std::ofstream(folder_ / "chat_template.jinja") << "{% if %}";
  EXPECT_FALSE(load({}).chat_template);
}

}  // namespace
}  // namespace pagoda
