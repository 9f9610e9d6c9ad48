#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "io/model_file.h"
#include "io/small_files.h"

namespace pagoda::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

void expect_open_error(const std::string& path, ErrorCode code, const std::string& text) {
  const auto model = ModelFile::open(path);
  ASSERT_FALSE(model) << path;
  EXPECT_EQ(model.error().code, code) << model.error().message;
  EXPECT_THAT(model.error().message, HasSubstr(text));
  EXPECT_THAT(model.error().message, StartsWith(path));
}

TEST(ModelFile, OpensAGguf) {
  const TempFolder folder;
  const std::string path = folder.write("x.gguf", small_gguf().bytes());
  const auto model = ModelFile::open(path);
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ((*model)->format(), ModelFormat::gguf);
  EXPECT_EQ((*model)->path(), path);
  EXPECT_THAT((*model)->files(), ElementsAre(path));
  EXPECT_EQ((*model)->total_bytes(), small_gguf().bytes().size());
  ASSERT_NE((*model)->find("blk.0.q"), nullptr);
  EXPECT_TRUE(std::ranges::equal((*model)->find("blk.0.q")->view.data, counting_bytes(72, 100)));
  EXPECT_EQ((*model)->find("blk.0"), nullptr);
  EXPECT_EQ((*model)->read_side_file("config.json").error().code, ErrorCode::not_found);
}

TEST(ModelFile, TypedLookUps) {
  const TempFolder folder;
  const auto opened = ModelFile::open(folder.write("x.gguf", small_gguf().bytes()));
  ASSERT_TRUE(opened) << opened.error().message;
  const ModelFile& model = **opened;
  EXPECT_EQ(model.find_int("a.i16"), -30000);
  EXPECT_EQ(model.find_int("a.f32"), std::nullopt);
  EXPECT_EQ(model.find_int("a.true"), std::nullopt);
  EXPECT_EQ(model.find_int("missing"), std::nullopt);
  EXPECT_EQ(model.find_bool("a.true"), true);
  EXPECT_EQ(model.find_bool("a.u8"), std::nullopt);
  ASSERT_NE(model.find_string("general.architecture"), nullptr);
  EXPECT_EQ(*model.find_string("general.architecture"), "llama");
  EXPECT_EQ(model.find_string("a.u8"), nullptr);
  ASSERT_NE(model.find_value<std::vector<double>>("a.floats"), nullptr);
  EXPECT_EQ(model.find_value<std::vector<int64_t>>("a.floats"), nullptr);
}

TEST(ModelFile, AFolderWithOneGguf) {
  const TempFolder folder;
  folder.write("readme.txt", "x");
  const std::string path = folder.write("x.gguf", small_gguf().bytes());
  const auto model = ModelFile::open(folder.path());
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ((*model)->path(), path);
  folder.write("y.gguf", small_gguf().bytes());
  expect_open_error(folder.path(), ErrorCode::invalid_argument, "has 2 .gguf files in it; name one of them");
}

TEST(ModelFile, PathsThatAreNoModel) {
  const TempFolder folder;
  expect_open_error(folder.path() + "/none", ErrorCode::not_found, "there is no such file or folder");
  expect_open_error(folder.path(), ErrorCode::not_found, "has neither a config.json nor a .gguf file");
  expect_open_error(folder.write("empty.gguf", ""), ErrorCode::corrupt, "is empty");
  expect_open_error(folder.write("page.gguf", "<html>404 Not Found</html>"), ErrorCode::corrupt,
                    "is not a GGUF file");
  expect_open_error(folder.write("model.safetensors", small_safetensors()), ErrorCode::invalid_argument,
                    "is one file of a Hugging Face model; name its folder instead");
  const std::string pipe = folder.file("pipe.gguf");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  expect_open_error(pipe, ErrorCode::io, "is not a regular file");
}

// Part `number` of two, counting from 1, with one tensor.
GgufWriter part_of_two(int number, std::string_view tensor) {
  GgufWriter part;
  part.add("split.no", static_cast<uint16_t>(number - 1));
  part.add("split.count", uint16_t{2});
  part.add("split.tensors.count", int32_t{2});
  if (number == 1) part.add("general.architecture", "llama");
  part.add_tensor(tensor, DType::f32, {1, {2}}, counting_bytes(8, number));
  return part;
}

class SplitGgufTest : public ::testing::Test {
 protected:
  std::string write_part(int number, const GgufWriter& part) {
    return folder_.write(fmt::format("m-{:05}-of-00002.gguf", number), part.bytes());
  }
  TempFolder folder_;
};

TEST_F(SplitGgufTest, OpensAllParts) {
  const std::string first = write_part(1, part_of_two(1, "a"));
  const std::string second = write_part(2, part_of_two(2, "b"));
  for (const std::string& path : {first, folder_.path()}) {
    const auto model = ModelFile::open(path);
    ASSERT_TRUE(model) << model.error().message;
    EXPECT_THAT((*model)->files(), ElementsAre(first, second));
    EXPECT_EQ(*(*model)->find_string("general.architecture"), "llama");
    EXPECT_EQ((*model)->find("a")->file_index, 0);
    EXPECT_EQ((*model)->find("b")->file_index, 1);
    EXPECT_EQ((*model)->find("b")->view.data[0], std::byte{2});
  }
}

TEST_F(SplitGgufTest, PartsThatAreMissingOrWrong) {
  const std::string first = write_part(1, part_of_two(1, "a"));
  const std::string second = folder_.file("m-00002-of-00002.gguf");
  const auto expect_error = [&](const std::string& path, ErrorCode code, const std::string& text) {
    const auto model = ModelFile::open(path);
    ASSERT_FALSE(model);
    EXPECT_EQ(model.error().code, code) << model.error().message;
    EXPECT_THAT(model.error().message, HasSubstr(text));
  };
  expect_error(first, ErrorCode::not_found, second + ": there is no such file");
  write_part(2, part_of_two(2, "b"));
  expect_error(second, ErrorCode::invalid_argument,
               "is one of 2 parts; open the first one, named …-00001-of-00002.gguf");
  write_part(2, part_of_two(1, "b"));
  expect_error(first, ErrorCode::corrupt, "does not say that it is part 2");
  write_part(2, GgufWriter().add_tensor("b", DType::f32, {1, {2}}, counting_bytes(8)));
  expect_error(first, ErrorCode::corrupt, "does not say that it is part 2");
  write_part(2, part_of_two(2, "a"));
  expect_error(first, ErrorCode::corrupt, "tensor 'a' stands in the model twice");
  GgufWriter more = part_of_two(2, "b");
  more.add_tensor("c", DType::f32, {1, {2}}, counting_bytes(8));
  write_part(2, more);
  expect_error(first, ErrorCode::corrupt, "its parts hold 3 tensors, split.tensors.count says 2");
  folder_.write("other.gguf", small_gguf().bytes());
  expect_error(folder_.path(), ErrorCode::invalid_argument, "has 3 .gguf files in it");
}

TEST_F(SplitGgufTest, ImpossibleCounts) {
  for (const int64_t count : {int64_t{-1}, int64_t{10000}, int64_t{1} << 60}) {
    const std::string path = folder_.write("x.gguf", GgufWriter().add("split.count", count).bytes());
    expect_open_error(path, ErrorCode::corrupt, "split.count is");
  }
}

// A file that someone else wrote.
TEST(ModelFile, OpensAModelOfTheTransformersLibrary) {
  const auto model = ModelFile::open(std::string(PAGODA_TEST_DATA) + "/models/llama_gqa");
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ((*model)->tensors().size(), 3u * 9 + 3);
  const NamedTensor* embedding = (*model)->find("model.embed_tokens.weight");
  ASSERT_NE(embedding, nullptr);
  EXPECT_EQ(embedding->view.shape.rank, 2);
  uint64_t end = 0;
  for (const NamedTensor& tensor : (*model)->tensors()) {
    EXPECT_GE(tensor.file_offset, end) << tensor.name;
    end = tensor.file_offset + tensor.view.data.size();
  }
  EXPECT_EQ(end, (*model)->total_bytes());
}

}  // namespace
}  // namespace pagoda::testing
