// A golden model computes the same from packed weights kept by an earlier load.
#include <gtest/gtest.h>

#include "model/bits.h"
#include "model/model_runner.h"

namespace pagoda::testing {
namespace {

class PackedCacheModelTest : public ::testing::TestWithParam<const char*> {
 protected:
  std::vector<float> logits(const std::optional<std::string>& packed_cache) {
    const auto file = value_of(ModelFile::open(model_folder(GetParam())));
    LoadOptions options;
    options.packed_cache = packed_cache;
    const auto model = value_of(load_model(*file, kernels_for(best_isa()), pool_, options));
    const std::vector<int32_t> prompt =
        GoldenFile(model_folder(GetParam()) + "/golden.safetensors").ints("prompt2.ids");
    return ModelRunner(*model, pool_, {.isa = best_isa()}).run(prompt, prompt.size());
  }
  size_t num_files() const {
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder_.path()),
                                             std::filesystem::directory_iterator()));
  }

  TempFolder folder_;
  ThreadPool pool_{2};
};

TEST_P(PackedCacheModelTest, SameLogits) {
  const std::vector<float> want = logits(std::nullopt);
  EXPECT_EQ(num_files(), 0u);
  expect_same_bits(logits(folder_.path()), want, "written");
  EXPECT_EQ(num_files(), 1u);
  expect_same_bits(logits(folder_.path()), want, "read");
  EXPECT_EQ(num_files(), 1u);
}

INSTANTIATE_TEST_SUITE_P(Models, PackedCacheModelTest,
                         ::testing::Values("llama_gqa", "gemma3", "gpt2", "opt"));

}  // namespace
}  // namespace pagoda::testing
