// bf16 weights times bf16 activations: the same bits everywhere, near the logits of f32 activations, and of
// no effect on other weights.
#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "model/bits.h"
#include "model/model_runner.h"

namespace pagoda::testing {
namespace {

class Bf16Activations : public ::testing::TestWithParam<const char*> {
 protected:
  std::vector<float> run(FloatActivations activations, Isa isa, ThreadPool& pool, size_t chunk) const {
    LoadOptions options;
    options.float_activations = activations;
    const auto file = value_of(ModelFile::open(folder_));
    const auto model = value_of(load_model(*file, kernels_for(isa), pool, options));
    return ModelRunner(*model, pool, {.isa = isa}).run(ids_, chunk);
  }

  const std::string folder_ = model_folder(GetParam());
  const std::vector<int32_t> ids_ = GoldenFile(folder_ + "/golden.safetensors").ints("prompt2.ids");
  ThreadPool one_thread_{1};
  ThreadPool two_threads_{2};
};

TEST_P(Bf16Activations, SameBitsOnEveryIsaAndInChunks) {
  const std::vector<float> whole = run(FloatActivations::bf16, Isa::scalar, one_thread_, ids_.size());
  for (const Isa isa : available_isas(detect_cpu()))
    for (const size_t chunk : {size_t{1}, size_t{7}, ids_.size()})
      expect_same_bits(run(FloatActivations::bf16, isa, two_threads_, chunk), whole,
                       fmt::format("{}, chunks of {}", to_string(isa), chunk));
}

TEST_P(Bf16Activations, LogitsStayNear) {
  const std::vector<float> exact = run(FloatActivations::f32, best_isa(), one_thread_, ids_.size());
  const std::vector<float> rounded = run(FloatActivations::bf16, best_isa(), one_thread_, ids_.size());
  ASSERT_EQ(exact.size(), rounded.size());
  float difference = 0;
  float largest = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    difference = std::max(difference, std::abs(exact[i] - rounded[i]));
    largest = std::max(largest, std::abs(exact[i]));
  }
  EXPECT_GT(difference, 0.0f);
  EXPECT_LT(difference, 0.05f * largest);
}

INSTANTIATE_TEST_SUITE_P(Models, Bf16Activations, ::testing::Values("llama_gqa", "qwen2", "gemma3"),
                         [](const auto& tested) { return std::string(tested.param); });

TEST(Bf16ActivationsOfOtherWeights, ChangeNothing) {
  ThreadPool pool(1);
  const std::string folder = model_folder("llama_tied");
  const std::vector<int32_t> ids = GoldenFile(folder + "/golden.safetensors").ints("prompt2.ids");
  const auto file = value_of(ModelFile::open(folder));
  std::vector<std::vector<float>> logits;
  for (const FloatActivations activations : {FloatActivations::f32, FloatActivations::bf16}) {
    LoadOptions options;
    options.float_activations = activations;
    const auto model = value_of(load_model(*file, kernels_for(best_isa()), pool, options));
    logits.push_back(ModelRunner(*model, pool, {.isa = best_isa()}).run(ids, ids.size()));
  }
  expect_same_bits(logits[1], logits[0], "f32 weights");
}

}  // namespace
}  // namespace pagoda::testing
