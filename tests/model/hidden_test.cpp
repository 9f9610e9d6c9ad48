// Hidden states: what the vocabulary projection reads, and the same bits in every chunk.
#include <cmath>

#include <gtest/gtest.h>

#include "model/bits.h"
#include "model/model_runner.h"

namespace pagoda::testing {
namespace {

struct HiddenCase {
  const char* model;
  const char* head;  // tensor of the vocabulary projection
};

class HiddenTest : public ::testing::TestWithParam<HiddenCase> {};

TEST_P(HiddenTest, TimesTheHeadAreTheReferencesLogits) {
  const std::string folder = model_folder(GetParam().model);
  const GoldenFile golden(folder + "/golden.safetensors");
  const std::vector<int32_t> ids = golden.ints("prompt1.ids");
  const std::vector<float> want = golden.floats("prompt1.logits");
  const std::vector<float> head = GoldenFile(folder + "/model.safetensors").floats(GetParam().head);
  ThreadPool pool(2);
  const std::unique_ptr<Model> model = load(folder, best_isa(), pool);
  ModelRunner runner(*model, pool, {.isa = best_isa(), .num_sequences = 2});
  const std::vector<float> hidden = runner.run_hidden(ids, ids.size());
  const auto width = static_cast<size_t>(model->info().hidden_size);
  const auto vocab_size = static_cast<size_t>(model->info().vocab_size);
  ASSERT_EQ(head.size(), width * vocab_size);
  for (size_t token = 0; token < ids.size(); ++token) {
    for (size_t id = 0; id < vocab_size; ++id) {
      double logit = 0;
      for (size_t i = 0; i < width; ++i)
        logit += static_cast<double>(hidden[token * width + i]) * static_cast<double>(head[id * width + i]);
      ASSERT_NEAR(logit, want[token * vocab_size + id], logits_tolerance(folder)) << token << " " << id;
    }
  }
}

TEST_P(HiddenTest, ChunksChangeNoBit) {
  const std::string folder = model_folder(GetParam().model);
  const std::vector<int32_t> ids = GoldenFile(folder + "/golden.safetensors").ints("prompt2.ids");
  ThreadPool pool(2);
  const std::unique_ptr<Model> model = load(folder, best_isa(), pool);
  const auto run = [&](size_t chunk) {
    return ModelRunner(*model, pool, {.isa = best_isa(), .num_sequences = 2}).run_hidden(ids, chunk);
  };
  const std::vector<float> whole = run(ids.size());
  for (const size_t chunk : {1, 7, 64})
    expect_same_bits(run(chunk), whole, fmt::format("chunks of {}", chunk));
}

INSTANTIATE_TEST_SUITE_P(Models, HiddenTest,
                         ::testing::Values(HiddenCase{"llama_tied", "model.embed_tokens.weight"},
                                           HiddenCase{"gpt2", "transformer.wte.weight"}),
                         [](const auto& tested) { return std::string(tested.param.model); });

}  // namespace
}  // namespace pagoda::testing
