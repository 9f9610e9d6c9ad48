// Logits of every position against a reference implementation, for every architecture, configuration style
// and ISA.
#include <cmath>
#include <cstdio>

#include <gtest/gtest.h>

#include "model/model_runner.h"

namespace pagoda::testing {
namespace {

constexpr int kPrompts = 3;

struct GoldenCase {
  const char* model;
  const char* config;
};

class GoldenTest : public ::testing::TestWithParam<GoldenCase> {};

double worst_difference(std::span<const float> got, std::span<const float> want) {
  EXPECT_EQ(got.size(), want.size());
  double worst = 0.0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double difference = std::abs(static_cast<double>(got[i]) - static_cast<double>(want[i]));
    if (!(difference <= worst)) worst = difference;  // NaN stays
  }
  return worst;
}

double check_prompt(Model& model, ThreadPool& pool, Isa isa, const GoldenFile& golden,
                    const std::string& prompt) {
  const std::vector<int32_t> ids = golden.ints(prompt + ".ids");
  const std::vector<int32_t> greedy_ids = golden.ints(prompt + ".greedy_ids");
  ModelRunner runner(model, pool, {.isa = isa});
  std::vector<float> logits = runner.run(ids, ids.size());
  const double worst = worst_difference(logits, golden.floats(prompt + ".logits"));
  for (const int32_t want : greedy_ids) {
    const int32_t got = greedy(logits, model.info().vocab_size);
    EXPECT_EQ(got, want) << prompt;
    logits = runner.run(std::span(&got, 1), 1);
  }
  return worst;
}

TEST_P(GoldenTest, LogitsAndGreedyContinuation) {
  const std::string folder = model_folder(GetParam().model);
  const FolderWithConfig configured = FolderWithConfig::from_file(folder, GetParam().config);
  const GoldenFile golden(folder + "/golden.safetensors");
  const double tolerance = logits_tolerance(folder);
  ThreadPool pool(2);
  for (const Isa isa : available_isas(detect_cpu())) {
    const std::unique_ptr<Model> model = load(configured.path(), isa, pool);
    EXPECT_EQ(model->info().kv_shape.type, KvType::f32);
    double worst = 0.0;
    for (int prompt = 0; prompt < kPrompts; ++prompt) {
      const double difference = check_prompt(*model, pool, isa, golden, fmt::format("prompt{}", prompt));
      EXPECT_LE(difference, tolerance) << "prompt " << prompt;
      if (!(difference <= worst)) worst = difference;
    }
    std::printf("%-12s %-14s %-7s worst error of logits %.1e, tolerance %.1e\n", GetParam().model,
                GetParam().config, std::string(to_string(isa)).c_str(), worst, tolerance);
  }
}

std::vector<GoldenCase> golden_cases() {
  std::vector<GoldenCase> cases;
  for (const char* model : {"llama_gqa", "llama_tied", "llama_bias", "llama3_rope", "llama_relu", "mistral",
                            "qwen2", "qwen2_yarn", "gemma3", "gpt2", "opt"})
    for (const char* config : {"config.json", "config.v5.json"}) cases.push_back({model, config});
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenTest, ::testing::ValuesIn(golden_cases()), [](const auto& tested) {
  const bool is_new_style = std::string_view(tested.param.config) != "config.json";
  return std::string(tested.param.model) + (is_new_style ? "_v5" : "");
});

}  // namespace
}  // namespace pagoda::testing
