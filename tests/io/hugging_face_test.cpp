#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/model_file.h"
#include "io/small_files.h"

namespace pagoda::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr std::string_view kIndex = "model.safetensors.index.json";

std::string one_tensor(std::string_view name, int first) {
  return SafetensorsWriter().add(name, "F32", std::vector<int64_t>{2}, counting_bytes(8, first)).bytes();
}

class HuggingFaceTest : public ::testing::Test {
 protected:
  HuggingFaceTest() { folder_.write("config.json", R"({"model_type": "llama"})"); }

  void write_index(const std::string& weight_map) {
    folder_.write(kIndex, R"({"metadata": {"total_size": 16}, "weight_map": )" + weight_map + "}");
  }
  // The one error of a folder that must be refused.
  Error open_error(ErrorCode code, const std::string& text) {
    const auto model = ModelFile::open(folder_.path());
    if (model) {
      ADD_FAILURE() << "was opened";
      return {};
    }
    EXPECT_EQ(model.error().code, code) << model.error().message;
    EXPECT_THAT(model.error().message, HasSubstr(text));
    EXPECT_THAT(model.error().message, StartsWith(folder_.path()));
    return model.error();
  }

  TempFolder folder_;
};

TEST_F(HuggingFaceTest, OpensOneFile) {
  folder_.write("model.safetensors", small_safetensors());
  const auto model = ModelFile::open(folder_.path());
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ((*model)->format(), ModelFormat::hugging_face);
  EXPECT_EQ((*model)->path(), folder_.path());
  EXPECT_THAT((*model)->files(), ElementsAre(folder_.file("model.safetensors")));
  EXPECT_EQ((*model)->total_bytes(), small_safetensors().size());
  EXPECT_EQ((*model)->tensors().size(), 3u);
  EXPECT_TRUE((*model)->metadata().empty());
  ASSERT_NE((*model)->find("norm"), nullptr);
  EXPECT_TRUE(std::ranges::equal((*model)->find("norm")->view.data, counting_bytes(10, 100)));
  EXPECT_EQ((*model)->find("nor"), nullptr);
}

TEST_F(HuggingFaceTest, OpensShards) {
  folder_.write("model-1.safetensors", one_tensor("a", 1));
  folder_.write("model-2.safetensors", one_tensor("b", 2));
  write_index(R"({"b": "model-2.safetensors", "a": "model-1.safetensors"})");
  const auto model = ModelFile::open(folder_.path());
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_THAT((*model)->files(),
              ElementsAre(folder_.file("model-1.safetensors"), folder_.file("model-2.safetensors")));
  EXPECT_EQ((*model)->find("a")->file_index, 0);
  EXPECT_EQ((*model)->find("b")->file_index, 1);
  EXPECT_EQ((*model)->find("b")->view.data[0], std::byte{2});
  EXPECT_EQ((*model)->total_bytes(), 2 * one_tensor("a", 1).size());
}

TEST_F(HuggingFaceTest, TensorsOfOtherTypesAreKnownByName) {
  const auto with_ids = SafetensorsWriter()
                            .add("ids", "I64", std::vector<int64_t>{1}, counting_bytes(8))
                            .add("b", "F32", std::vector<int64_t>{2}, counting_bytes(8))
                            .bytes();
  folder_.write("model-1.safetensors", one_tensor("a", 1));
  folder_.write("model-2.safetensors", with_ids);
  write_index(R"({"a": "model-1.safetensors", "b": "model-2.safetensors", "ids": "model-2.safetensors"})");
  const auto model = ModelFile::open(folder_.path());
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ((*model)->find("ids"), nullptr);
  ASSERT_NE((*model)->find_unread("ids"), nullptr);
  EXPECT_EQ((*model)->find_unread("ids")->dtype, "'I64'");
  EXPECT_EQ((*model)->find_unread("b"), nullptr);
  EXPECT_TRUE((*model)->has("ids") && (*model)->has("b"));
  EXPECT_FALSE((*model)->has("c"));
  write_index(R"({"a": "model-1.safetensors", "ids": "model-1.safetensors", "b": "model-2.safetensors"})");
  open_error(ErrorCode::corrupt, "tensor 'ids' is not in the file 'model-1.safetensors'");
  folder_.write("model-1.safetensors", one_tensor("ids", 1));
  write_index(R"({"ids": "model-1.safetensors", "b": "model-2.safetensors"})");
  open_error(ErrorCode::corrupt, "tensor 'ids' stands in the model twice");
}

TEST_F(HuggingFaceTest, LinksToAStoreAreFollowed) {
  const TempFolder store;
  std::filesystem::create_symlink(store.write("blob", one_tensor("a", 7)), folder_.file("model.safetensors"));
  const auto model = ModelFile::open(folder_.path());
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ((*model)->find("a")->view.data[0], std::byte{7});
}

TEST_F(HuggingFaceTest, ReadsSideFiles) {
  folder_.write("model.safetensors", small_safetensors());
  std::filesystem::create_directory(folder_.file("sub"));
  const auto model = ModelFile::open(folder_.path());
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ((*model)->read_side_file("config.json"), R"({"model_type": "llama"})");
  EXPECT_EQ((*model)->read_side_file("tokenizer.json").error().code, ErrorCode::not_found);
  EXPECT_EQ((*model)->read_side_file("sub").error().code, ErrorCode::io);
  for (const std::string& name :
       {std::string("../config.json"), std::string("/etc/passwd"), std::string(".."), std::string("."),
        std::string(), std::string("config.json\0x", 13)})
    EXPECT_EQ((*model)->read_side_file(name).error().code, ErrorCode::invalid_argument) << name;
}

TEST_F(HuggingFaceTest, WeightsInOtherFormats) {
  folder_.write("pytorch_model.bin", "x");
  const Error error = open_error(ErrorCode::not_found, "has neither model.safetensors nor");
  EXPECT_THAT(error.message, HasSubstr("converted to safetensors"));
}

TEST_F(HuggingFaceTest, AMissingShardIsNamed) {
  folder_.write("model-1.safetensors", one_tensor("a", 1));
  write_index(R"({"a": "model-1.safetensors", "b": "model-2.safetensors"})");
  open_error(ErrorCode::not_found,
             "names the file 'model-2.safetensors', which is missing; the download is probably");
}

TEST_F(HuggingFaceTest, ATruncatedShardIsNamed) {
  const std::string shard = one_tensor("a", 1);
  folder_.write("model-1.safetensors", shard.substr(0, shard.size() - 1));
  write_index(R"({"a": "model-1.safetensors"})");
  open_error(ErrorCode::corrupt, "model-1.safetensors: tensor 'a' ends beyond the file");
}

TEST_F(HuggingFaceTest, TheIndexStaysInItsFolder) {
  const TempFolder other;
  other.write("secret.safetensors", one_tensor("a", 1));
  const std::string relative =
      "../" + std::filesystem::path(other.path()).filename().string() + "/secret.safetensors";
  for (const std::string& name : {relative, other.file("secret.safetensors"), std::string(".."),
                                  std::string("."), std::string("sub/x.safetensors"), std::string()}) {
    write_index(R"({"a": ")" + name + R"("})");
    open_error(ErrorCode::corrupt, "tensor 'a' is not mapped to the name of a file in this folder");
  }
  write_index(R"({"a": "x\u0000.safetensors"})");
  open_error(ErrorCode::corrupt, "tensor 'a' is not mapped");
}

TEST_F(HuggingFaceTest, IndicesOfOtherForms) {
  folder_.write("a.safetensors", one_tensor("a", 1));
  for (const char* weight_map : {"1", "[]", "null", R"("a.safetensors")"}) {
    write_index(weight_map);
    open_error(ErrorCode::corrupt, "has no object 'weight_map'");
  }
  for (const char* weight_map :
       {R"({"a": 1})", R"({"a": ["a.safetensors"]})", R"({"a": {}})", R"({"a": null})"}) {
    write_index(weight_map);
    open_error(ErrorCode::corrupt, "tensor 'a' is not mapped");
  }
  for (const char* index : {"[]", "1", "{}", R"({"weight_map": 1})"}) {
    folder_.write(kIndex, index);
    open_error(ErrorCode::corrupt, "has no object 'weight_map'");
  }
  folder_.write(kIndex, "{]");
  open_error(ErrorCode::corrupt, "the index is not JSON");
  folder_.write(kIndex, "");
  open_error(ErrorCode::corrupt, "the index is not JSON");
}

TEST_F(HuggingFaceTest, TensorsThatAreNotWhereTheIndexSays) {
  folder_.write("1.safetensors", one_tensor("a", 1));
  folder_.write("2.safetensors", one_tensor("b", 1));
  write_index(R"({"a": "1.safetensors", "b": "1.safetensors", "c": "2.safetensors"})");
  open_error(ErrorCode::corrupt, "tensor 'b' is not in the file '1.safetensors'");
  write_index(R"({"a": "1.safetensors", "c": "2.safetensors"})");
  open_error(ErrorCode::corrupt, "tensor 'c' is not in the file '2.safetensors'");
}

TEST_F(HuggingFaceTest, ATensorInTwoShards) {
  folder_.write("1.safetensors", one_tensor("a", 1));
  folder_.write("2.safetensors", one_tensor("a", 1));
  write_index(R"({"a": "1.safetensors", "b": "2.safetensors"})");
  open_error(ErrorCode::corrupt, "tensor 'a' stands in the model twice");
}

TEST_F(HuggingFaceTest, AnIndexOfTooManyFiles) {
  std::string weight_map = "{";
  for (int i = 0; i <= 10000; ++i) weight_map += fmt::format(R"("t{}": "{}",)", i, i);
  weight_map.back() = '}';
  write_index(weight_map);
  open_error(ErrorCode::corrupt, "names more than 10000 files");
}

}  // namespace
}  // namespace pagoda::testing
