#include "model/generation_defaults.h"

#include <fstream>

#include <gtest/gtest.h>

#include "model/model_folder.h"

namespace pagoda::testing {
namespace {

using Ids = std::vector<int32_t>;

GenerationDefaults defaults_of(const std::string& path) {
  const auto file = value_of(ModelFile::open(path));
  return value_of(load_generation_defaults(*file));
}

TEST(GenerationDefaults, ListOfEndTokensAndSettings) {
  const GenerationDefaults defaults = defaults_of(model_folder("llama_gqa"));
  EXPECT_EQ(defaults.end_ids, (Ids{1, 3}));
  EXPECT_EQ(defaults.bos_id, 0);
  EXPECT_EQ(defaults.temperature, 0.6);
  EXPECT_EQ(defaults.top_p, 0.9);
  EXPECT_FALSE(defaults.top_k.has_value());
  EXPECT_FALSE(defaults.repetition_penalty.has_value());
}

TEST(GenerationDefaults, TopKAndPenalty) {
  const GenerationDefaults defaults = defaults_of(model_folder("qwen2"));
  EXPECT_EQ(defaults.end_ids, (Ids{2, 5}));
  EXPECT_EQ(defaults.top_k, 20);
  EXPECT_EQ(defaults.repetition_penalty, 1.05);
}

TEST(GenerationDefaults, ConfigurationAloneIsEnough) {
  const GenerationDefaults defaults = defaults_of(model_folder("gemma3"));
  EXPECT_EQ(defaults.end_ids, (Ids{1}));
  EXPECT_EQ(defaults.bos_id, 2);
  EXPECT_FALSE(defaults.temperature.has_value());
}

class WrittenDefaults : public ::testing::Test {
 protected:
  Result<GenerationDefaults> read(const std::string& text) {
    std::ofstream(folder_.path() + "/generation_config.json") << text;
    const auto file = value_of(ModelFile::open(folder_.path()));
    return load_generation_defaults(*file);
  }
  FolderWithConfig folder_ = FolderWithConfig::from_file(model_folder("llama_gqa"), "config.json");
};

TEST_F(WrittenDefaults, SettingsOutOfRangeAreIgnored) {
  const auto defaults =
      read(R"({"eos_token_id": [7, -1, "x", 99999999999, 7], "temperature": -1, "top_p": 1.5,
                                 "top_k": 2.5, "repetition_penalty": "high"})");
  ASSERT_TRUE(defaults.has_value());
  EXPECT_EQ(defaults->end_ids, (Ids{1, 7}));
  EXPECT_FALSE(defaults->temperature.has_value());
  EXPECT_FALSE(defaults->top_p.has_value());
  EXPECT_FALSE(defaults->top_k.has_value());
  EXPECT_FALSE(defaults->repetition_penalty.has_value());
}

TEST_F(WrittenDefaults, NoJsonIsCorrupt) {
  for (const char* text : {"", "[]", "{\"temperature\": "}) {
    const auto defaults = read(text);
    ASSERT_FALSE(defaults.has_value()) << text;
    EXPECT_EQ(defaults.error().code, ErrorCode::corrupt);
  }
}

}  // namespace
}  // namespace pagoda::testing
