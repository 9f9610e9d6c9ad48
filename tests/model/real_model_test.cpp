// Real models in GGUF files of the folder $PAGODA_MODELS against a reference that computes in f32 throughout.
// Ours rounds activations to int8 and the cache to bf16 or int8: bounds as the reference itself loses in that
// arithmetic.
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include <gtest/gtest.h>

#include "model/bits.h"
#include "model/model_runner.h"

namespace pagoda::testing {
namespace {

constexpr double kMaxPerplexityChange = 0.02;
constexpr double kMaxMeanDifference = 0.1;  // of log probabilities
constexpr float kTieGap = 0.5f;             // greedy steps closer than this may go either way
constexpr int32_t kChunk = 64;

struct RealCase {
  const char* name;
  const char* file;
};

constexpr RealCase kCases[] = {
    {"smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"},
    {"qwen2.5-coder", "qwen2.5-coder-0.5b.gguf"},
    {"gemma3", "gemma-3-270m-q4_k_m.gguf"},
};

// Empty if the folder is not given or lacks the file.
std::string find_model(const char* file) {
  const char* folder = std::getenv("PAGODA_MODELS");
  if (folder == nullptr) return {};
  const std::string path = std::string(folder) + "/" + file;
  return std::filesystem::exists(path) ? path : std::string();
}

double log_probability(std::span<const float> logits, int32_t id) {
  const double max = *std::max_element(logits.begin(), logits.end());
  double sum = 0.0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - max);
  return static_cast<double>(logits[static_cast<size_t>(id)]) - max - std::log(sum);
}

class RealModelTest : public ::testing::TestWithParam<std::tuple<RealCase, KvType>> {
 protected:
  void SetUp() override {
    const std::string path = find_model(tested().file);
    if (path.empty()) GTEST_SKIP() << "set PAGODA_MODELS to a folder that holds " << tested().file;
    model_ = load(path, best_isa(), pool_, std::get<KvType>(GetParam()));
  }
  static RealCase tested() { return std::get<RealCase>(GetParam()); }
  GoldenFile golden(const std::string& prompt) const {
    return GoldenFile(fmt::format("{}/real/{}/{}.safetensors", PAGODA_TEST_DATA, tested().name, prompt));
  }
  ModelRunner::Options options() const {
    return {.isa = best_isa(), .max_tokens = kChunk, .max_context = 1600};
  }

  ThreadPool pool_{2};
  std::unique_ptr<Model> model_;
};

TEST_P(RealModelTest, PerplexityAndLogProbabilities) {
  const GoldenFile reference = golden("long");
  const std::vector<int32_t> ids = reference.ints("ids");
  const std::vector<float> want = reference.floats("logprobs");
  const auto vocab_size = static_cast<size_t>(model_->info().vocab_size);
  ModelRunner runner(*model_, pool_, options());
  double got_sum = 0.0;
  double want_sum = 0.0;
  double difference = 0.0;
  for (size_t begin = 0; begin + 1 < ids.size(); begin += kChunk) {
    const size_t count = std::min<size_t>(kChunk, ids.size() - 1 - begin);
    const std::vector<float> logits = runner.step({{0, std::span(ids).subspan(begin, count)}});
    for (size_t i = 0; i < count; ++i) {
      const double got =
          log_probability(std::span(logits).subspan(i * vocab_size, vocab_size), ids[begin + i + 1]);
      got_sum += got;
      want_sum += want[begin + i];
      difference += std::abs(got - want[begin + i]);
    }
  }
  const auto count = static_cast<double>(ids.size() - 1);
  const double got_perplexity = std::exp(-got_sum / count);
  const double want_perplexity = std::exp(-want_sum / count);
  std::printf("%s: perplexity %.3f, reference %.3f; mean difference of log probabilities %.3f\n",
              tested().name, got_perplexity, want_perplexity, difference / count);
  EXPECT_LT(std::abs(got_perplexity / want_perplexity - 1.0), kMaxPerplexityChange);
  EXPECT_LT(difference / count, kMaxMeanDifference);
}

// The reference's continuation is fed, so that every step without a near tie can be compared.
TEST_P(RealModelTest, GreedyContinuation) {
  size_t num_compared = 0;
  for (const char* prompt : {"english", "code", "long"}) {
    const GoldenFile reference = golden(prompt);
    const std::vector<int32_t> ids = reference.ints("ids");
    const std::vector<int32_t> want = reference.ints("greedy_ids");
    const std::vector<float> gaps = reference.floats("greedy_gaps");
    ModelRunner runner(*model_, pool_, options());
    std::vector<float> logits = runner.run_to_last(ids, kChunk);
    for (size_t i = 0; i < want.size(); ++i) {
      if (gaps[i] >= kTieGap) {
        EXPECT_EQ(greedy(logits, model_->info().vocab_size), want[i]) << prompt << ", token " << i;
        ++num_compared;
      }
      logits = runner.run_to_last(std::span(want).subspan(i, 1), 1);
    }
  }
  std::printf("%s: %zu greedy tokens compared\n", tested().name, num_compared);
  EXPECT_GT(num_compared, 60u);
}

TEST_P(RealModelTest, Identities) {
  constexpr size_t kTokens = 20;
  const std::vector<int32_t> ids = {golden("english").ints("ids")};
  const auto prompt = std::span(ids).first(kTokens);
  ThreadPool one_thread(1);
  const std::vector<float> reference = ModelRunner(*model_, one_thread, options()).run(prompt, kTokens);
  for (const size_t chunk : {1, 7})
    expect_same_bits(ModelRunner(*model_, pool_, options()).run(prompt, chunk), reference,
                     fmt::format("chunks of {}", chunk));

  ModelRunner::Options batch = options();
  batch.num_sequences = 3;
  batch.order = PageOrder::shuffled;
  ModelRunner runner(*model_, pool_, batch);
  const std::vector<float> together =
      runner.step({{0, std::span(ids).subspan(30, 1)}, {1, prompt}, {2, std::span(ids).subspan(40, 17)}});
  const auto vocab_size = static_cast<size_t>(model_->info().vocab_size);
  expect_same_bits(std::span(together).subspan(vocab_size, kTokens * vocab_size), reference, "batch");
}

// Two sequences, so that steps are of one and of two tokens.
TEST_P(RealModelTest, ScreeningChangesNoGreedyToken) {
  constexpr int kSteps = 48;
  const auto type = std::get<KvType>(GetParam());
  const auto screened = load(find_model(tested().file), best_isa(), pool_, type, 1);
  const auto plain = load(find_model(tested().file), best_isa(), pool_, type, kNoScreening);
  EXPECT_LT(screened->info().screened_bytes_per_token, screened->info().bytes_per_token);
  EXPECT_EQ(plain->info().screened_bytes_per_token, plain->info().bytes_per_token);
  const int64_t vocab_size = plain->info().vocab_size;
  ModelRunner::Options both = options();
  both.num_sequences = 2;
  ModelRunner want(*plain, pool_, both);
  both.only_greatest = true;
  ModelRunner got(*screened, pool_, both);
  const std::vector<int32_t> prompts[] = {golden("english").ints("ids"), golden("code").ints("ids")};
  std::array<int32_t, 2> next{};
  const auto step = [&](const std::vector<Feed>& feeds) {
    const std::vector<float> exact = want.step(feeds);
    const std::vector<float> found = got.step(feeds);
    ASSERT_EQ(found.size(), exact.size());
    const size_t first = feeds.size() == 1 ? exact.size() / static_cast<size_t>(vocab_size) - 1 : 0;
    for (size_t i = 0; i < feeds.size(); ++i) {
      const auto row = [&](const std::vector<float>& logits) {
        return std::span(logits).subspan((first + i) * static_cast<size_t>(vocab_size),
                                         static_cast<size_t>(vocab_size));
      };
      const int32_t token = greedy(row(exact), vocab_size);
      ASSERT_EQ(greedy(row(found), vocab_size), token);
      ASSERT_EQ(row(found)[static_cast<size_t>(token)], row(exact)[static_cast<size_t>(token)]);
      next[static_cast<size_t>(feeds[i].sequence)] = token;
    }
  };
  for (int32_t sequence = 0; sequence < 2; ++sequence)
    for (size_t at = 0; at < std::min<size_t>(prompts[sequence].size(), 48); at += 16)
      step({{sequence,
             std::span(prompts[sequence]).subspan(at, std::min<size_t>(16, prompts[sequence].size() - at))}});
  for (int i = 0; i < kSteps; ++i) {
    const std::array<int32_t, 2> ids = next;
    const auto one = [&](int32_t sequence) {
      return Feed{sequence, std::span(ids).subspan(static_cast<size_t>(sequence), 1)};
    };
    if (i % 3 == 0)
      step({one(0), one(1)});
    else
      step({one(i % 2)});
  }
}

TEST_P(RealModelTest, InstructionSets) {
  const std::vector<int32_t> ids = golden("english").ints("ids");
  const auto prompt = std::span(ids).first(6);
  const std::vector<float> reference = ModelRunner(*model_, pool_, options()).run(prompt, prompt.size());
  for (const Isa isa : available_isas(detect_cpu())) {
    ModelRunner::Options other = options();
    other.isa = isa;
    expect_same_bits(ModelRunner(*model_, pool_, other).run(prompt, prompt.size()), reference,
                     std::string(to_string(isa)));
  }
}

INSTANTIATE_TEST_SUITE_P(Models, RealModelTest,
                         ::testing::Combine(::testing::ValuesIn(kCases),
                                            ::testing::Values(KvType::bf16, KvType::int8)),
                         [](const auto& tested) {
                           std::string name = std::get<RealCase>(tested.param).name;
                           std::erase_if(name, [](char c) { return c == '-' || c == '.'; });
                           return fmt::format("{}_{}", name, to_string(std::get<KvType>(tested.param)));
                         });

}  // namespace
}  // namespace pagoda::testing
