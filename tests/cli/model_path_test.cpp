#include "cli/model_path.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

namespace pagoda {
namespace {

namespace fs = std::filesystem;

class ModelPath : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = (fs::path(testing::TempDir()) / "pagoda_model_path_test").string();
    fs::remove_all(folder_);
    fs::create_directories(folder_ + "/tiny-llama");
    for (const char* name :
         {"SmolLM2-135M-Instruct.Q4_1.gguf", "gemma-3-270m-q4_k_m.gguf", "qwen2.5-coder-0.5b.gguf",
          "qwen2.5-coder-1.5b.gguf", "tiny-llama/config.json", "notes.txt"})
      std::ofstream(folder_ + "/" + name) << "x";
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string folder_;
};

TEST_F(ModelPath, FindsByTheBeginningOfItsName) {
  EXPECT_EQ(find_model("smollm2-135m", folder_), folder_ + "/SmolLM2-135M-Instruct.Q4_1.gguf");
  EXPECT_EQ(find_model("gemma3-270m", folder_), folder_ + "/gemma-3-270m-q4_k_m.gguf");
  EXPECT_EQ(find_model("qwen2.5-coder-1.5b", folder_), folder_ + "/qwen2.5-coder-1.5b.gguf");
  EXPECT_EQ(find_model("Tiny-Llama", folder_), folder_ + "/tiny-llama");
}

TEST_F(ModelPath, AnExistingPathIsItself) {
  EXPECT_EQ(find_model(folder_ + "/notes.txt", folder_), folder_ + "/notes.txt");
}

TEST_F(ModelPath, SaysWhatThereIs) {
  const auto ambiguous = find_model("qwen2.5-coder", folder_);
  ASSERT_FALSE(ambiguous);
  EXPECT_NE(ambiguous.error().message.find("qwen2.5-coder-0.5b.gguf or qwen2.5-coder-1.5b.gguf"),
            std::string::npos);
  const auto unknown = find_model("mistral", folder_);
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, ErrorCode::not_found);
  EXPECT_NE(unknown.error().message.find("tiny-llama"), std::string::npos);
  EXPECT_FALSE(find_model("", folder_));
  EXPECT_FALSE(find_model("no/such/file.gguf", folder_));
  const auto empty = find_model("mistral", folder_ + "/tiny-llama");
  ASSERT_FALSE(empty);
  EXPECT_NE(empty.error().message.find("make run"), std::string::npos);
}

}  // namespace
}  // namespace pagoda
