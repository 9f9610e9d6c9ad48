// Tokenizers and chat templates of model files.
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <unistd.h>

#include "model/vocabulary.h"
#include "text/golden_file.h"

namespace pagoda::testing {
namespace {

namespace fs = std::filesystem;

// A Hugging Face folder with a tiny model, whose side files are written by the test.
class VocabularyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / fmt::format("pagoda-vocabulary-{}", getpid());
    fs::create_directory(folder_);
    for (const char* name : {"config.json", "model.safetensors"})
      fs::copy(fs::path(PAGODA_TEST_DATA) / "models/llama_gqa" / name, folder_ / name);
  }
  void TearDown() override { fs::remove_all(folder_); }

  void write(const std::string& name, const std::string& text) { std::ofstream(folder_ / name) << text; }
  std::unique_ptr<ModelFile> open() const {
    auto file = ModelFile::open(folder_.string());
    EXPECT_TRUE(file) << file.error().message;
    return file ? std::move(*file) : nullptr;
  }
  std::string template_source() const {
    const auto source = load_chat_template_source(*open());
    return source ? *source : "none: " + source.error().message;
  }

  fs::path folder_;
};

TEST_F(VocabularyTest, ReadsTokenizerAndItsConfig) {
  write("tokenizer.json", read_test_file("tokenizers/tiny/tokenizer.json"));
  auto tokenizer = load_tokenizer(*open());
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ((*tokenizer)->eos_id(), -1);
  write("tokenizer_config.json", read_test_file("tokenizers/tiny/tokenizer_config.json"));
  tokenizer = load_tokenizer(*open());
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ((*tokenizer)->token_text((*tokenizer)->eos_id()), "<|end|>");
}

TEST_F(VocabularyTest, MissingAndDamagedTokenizersNameTheFile) {
  const auto missing = load_tokenizer(*open());
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::not_found);
  write("tokenizer.json", "{");
  const auto damaged = load_tokenizer(*open());
  ASSERT_FALSE(damaged);
  EXPECT_EQ(damaged.error().code, ErrorCode::corrupt);
  EXPECT_NE(damaged.error().message.find(folder_.string()), std::string::npos) << damaged.error().message;
}

TEST_F(VocabularyTest, FindsTheChatTemplate) {
  EXPECT_EQ(load_chat_template_source(*open()).error().code, ErrorCode::not_found);
  write("tokenizer_config.json", R"({"chat_template": "one"})");
  EXPECT_EQ(template_source(), "one");
  write("tokenizer_config.json", R"({"chat_template": [{"name": "rag", "template": "a"},
                                                       {"name": "default", "template": "b"}]})");
  EXPECT_EQ(template_source(), "b");
  write("tokenizer_config.json", R"({"chat_template": [{"name": "rag", "template": "a"}, 3, {}]})");
  EXPECT_EQ(load_chat_template_source(*open()).error().code, ErrorCode::not_found);
  write("tokenizer_config.json", "{");
  EXPECT_EQ(load_chat_template_source(*open()).error().code, ErrorCode::corrupt);
  write("chat_template.jinja", "file");
  EXPECT_EQ(template_source(), "file");
}

TEST(GgufVocabularyTest, HoldsTheChatTemplate) {
  const char* models = std::getenv("PAGODA_MODELS");
  const std::string path = std::string(models == nullptr ? "" : models) + "/SmolLM2-135M-Instruct.Q4_1.gguf";
  if (!fs::exists(path)) GTEST_SKIP() << path << " does not exist";
  const auto file = ModelFile::open(path);
  ASSERT_TRUE(file) << file.error().message;
  const auto source = load_chat_template_source(**file);
  ASSERT_TRUE(source) << source.error().message;
  EXPECT_EQ(*source, read_test_file("chats/templates/smollm2.jinja"));
}

}  // namespace
}  // namespace pagoda::testing
