#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/model_file.h"
#include "io/small_files.h"

namespace pagoda::testing {
namespace {

using ::testing::HasSubstr;

Result<SafetensorsContents> parse(const std::string& file) {
  return parse_safetensors(bytes_of(file), "x.safetensors");
}
Error error_of(const std::string& file) {
  const auto contents = parse(file);
  if (contents) {
    ADD_FAILURE() << "was read";
    return {};
  }
  EXPECT_THAT(contents.error().message, ::testing::StartsWith("x.safetensors: "));
  return contents.error();
}
// With 64 bytes of data.
Error error_of_header(const std::string& header) {
  return error_of(safetensors_file(header, std::string(64, '\0')));
}

TEST(Safetensors, ReadsTensors) {
  const std::string file = small_safetensors();
  const auto contents = parse(file);
  ASSERT_TRUE(contents) << contents.error().message;
  ASSERT_EQ(contents->tensors.size(), 3u);
  const NamedTensor& embedding = contents->tensors[0];
  EXPECT_EQ(embedding.name, "embed");
  EXPECT_EQ(embedding.view.dtype, DType::f32);
  EXPECT_EQ(embedding.view.shape, (Shape{2, {2, 3}}));
  EXPECT_EQ(contents->tensors[1].view.dtype, DType::bf16);
  EXPECT_EQ(contents->tensors[2].view.dtype, DType::f16);
  EXPECT_EQ(contents->tensors[2].view.shape.rank, 0);
  for (const auto& [index, data] : {std::pair(0, counting_bytes(24)), std::pair(1, counting_bytes(10, 100)),
                                    std::pair(2, counting_bytes(2, 50))}) {
    const NamedTensor& tensor = contents->tensors[static_cast<size_t>(index)];
    EXPECT_EQ(tensor.view.data.data(), bytes_of(file).data() + tensor.file_offset);
    EXPECT_TRUE(std::ranges::equal(tensor.view.data, data)) << tensor.name;
  }
}

TEST(Safetensors, TensorsComeInFileOrder) {
  const auto contents = parse(safetensors_file(
      R"({"b":{"dtype":"F16","shape":[2],"data_offsets":[2,6]},"a":{"dtype":"F16","shape":[],"data_offsets":[0,2]}})",
      std::string(6, '\0')));
  ASSERT_TRUE(contents) << contents.error().message;
  EXPECT_EQ(contents->tensors[0].name, "a");
  EXPECT_EQ(contents->tensors[1].name, "b");
}

TEST(Safetensors, MetadataUnknownFieldsAndPaddingAreFine) {
  const std::string file = safetensors_file(
      R"({"__metadata__":{"format":"pt","n":1},)"
      R"("a":{"more":[{"x":[1]}],"dtype":"F16","shape":[1],"data_offsets":[0,2],"no":null}}     )",
      std::string(2, '\0'));
  const auto contents = parse(file);
  ASSERT_TRUE(contents) << contents.error().message;
  EXPECT_EQ(contents->metadata, (std::map<std::string, std::string>{{"format", "pt"}}));
  EXPECT_EQ(contents->tensors.size(), 1u);
}

TEST(Safetensors, RefusesHeadersThatDoNotFit) {
  EXPECT_THAT(error_of("1234567").message, HasSubstr("too short"));
  for (const uint64_t length : {~uint64_t{0}, uint64_t{1} << 60, uint64_t{17}}) {
    std::string file(24, ' ');
    std::memcpy(file.data(), &length, sizeof length);
    EXPECT_THAT(error_of(file).message, HasSubstr("claims a header of " + std::to_string(length) + " bytes"));
  }
  EXPECT_THAT(error_of("<!DOCTYPE html><html><body>404</body></html>").message, HasSubstr("no safetensors"));
}

TEST(Safetensors, RefusesHeadersThatAreNoJsonObject) {
  for (const char* header : {"", "{", "{}x", "{} {}", R"({"a":})", "{\"a\xff\":1}", "{'a':1}"})
    EXPECT_THAT(error_of_header(header).message, HasSubstr("the header")) << header;
  for (const char* header : {"[]", "1", "null", "\"a\""})
    EXPECT_THAT(error_of_header(header).message, HasSubstr("header is not a JSON object")) << header;
  EXPECT_THAT(error_of_header(std::string(100, '[')).message, HasSubstr("header is not a JSON object"));
  EXPECT_THAT(error_of_header(R"({"a":{"x":)" + std::string(100000, '[')).message, HasSubstr("the header"));
}

struct BadEntry {
  std::string entry;
  std::string text;
};

TEST(Safetensors, RefusesImpossibleTensors) {
  const BadEntry cases[] = {
      {R"(1)", "not described by an object"},
      {R"([])", "not described by an object"},
      {R"({})", "has no dtype"},
      {R"({"dtype":"F16","data_offsets":[0,2]})", "has no shape"},
      {R"({"dtype":"F16","shape":[1]})", "has no data_offsets"},
      {R"({"dtype":16,"shape":[1],"data_offsets":[0,2]})", "impossible dtype"},
      {R"({"dtype":"F16","shape":1,"data_offsets":[0,2]})", "shape of tensor 't' is not a list"},
      {R"({"dtype":"F16","shape":{"a":1},"data_offsets":[0,2]})", "shape of tensor 't' is not a list"},
      {R"({"dtype":"F16","shape":[[1]],"data_offsets":[0,2]})", "shape of tensor 't' is not a list"},
      {R"({"dtype":"F16","shape":["1"],"data_offsets":[0,2]})", "shape of tensor 't' is not a list"},
      {R"({"dtype":"F16","shape":[1.0],"data_offsets":[0,2]})", "shape of tensor 't' is not a list"},
      {R"({"dtype":"F16","shape":[0],"data_offsets":[0,0]})", "impossible shape"},
      {R"({"dtype":"F16","shape":[-1],"data_offsets":[0,2]})", "impossible shape"},
      {R"({"dtype":"F16","shape":[1,1,1,1,1],"data_offsets":[0,2]})", "impossible shape"},
      {R"({"dtype":"F16","shape":[9223372036854775807,2],"data_offsets":[0,2]})", "impossible shape"},
      {R"({"dtype":"F16","shape":[4294967296,4294967296,1],"data_offsets":[0,2]})", "impossible shape"},
      {R"({"dtype":"F16","shape":[9223372036854775808],"data_offsets":[0,2]})", "is not a list of integers"},
      {R"({"dtype":"F16","shape":[1],"data_offsets":[0]})", "impossible data_offsets"},
      {R"({"dtype":"F16","shape":[1],"data_offsets":[0,1,2]})", "impossible data_offsets"},
      {R"({"dtype":"F16","shape":[1],"data_offsets":[-2,0]})", "impossible data_offsets"},
      {R"({"dtype":"F16","shape":[1],"data_offsets":[4,2]})", "impossible data_offsets"},
      {R"({"dtype":"F16","shape":[1],"data_offsets":[64,66]})", "ends beyond the file; the download"},
      {R"({"dtype":"F16","shape":[1],"data_offsets":[0,9223372036854775807]})", "ends beyond the file"},
      {R"({"dtype":"F16","shape":[3],"data_offsets":[0,2]})", "has 2 bytes, but [3] of f16 takes 6"},
      {R"({"dtype":"F16","shape":[1],"data_offsets":[0,64]})", "has 64 bytes, but [1] of f16 takes 2"},
      {R"({"dtype":"F16","dtype":"F32","shape":[1],"data_offsets":[0,2]})", "two values of dtype"},
      {R"({"dtype":"F16","shape":[1],"shape":[1],"data_offsets":[0,2]})", "two values of shape"},
  };
  for (const BadEntry& bad : cases) {
    const Error error = error_of_header("{\"t\":" + bad.entry + "}");
    EXPECT_EQ(error.code, ErrorCode::corrupt) << bad.entry;
    EXPECT_THAT(error.message, HasSubstr("'t'")) << bad.entry;
    EXPECT_THAT(error.message, HasSubstr(bad.text)) << bad.entry;
  }
}

TEST(Safetensors, RefusesNamesThatStandTwice) {
  const std::string entry = R"("a":{"dtype":"F16","shape":[1],"data_offsets":[0,2]})";
  EXPECT_THAT(error_of_header("{" + entry + "," + entry + "}").message,
              HasSubstr("'a' stands in the header twice"));
  EXPECT_THAT(error_of_header(R"({"__metadata__":{},"__metadata__":{}})").message, HasSubstr("twice"));
}

TEST(Safetensors, KeepsTensorsOfOtherTypesApart) {
  for (const std::string dtype : {"I64", "F8_E4M3", "BOOL", "f32", ""}) {
    const auto contents =
        parse(safetensors_file(R"({"t":{"dtype":")" + dtype + R"(","shape":[1],"data_offsets":[0,8]},)" +
                                   R"("w":{"dtype":"F16","shape":[1],"data_offsets":[8,10]}})",
                               std::string(10, '\0')));
    ASSERT_TRUE(contents) << contents.error().message;
    ASSERT_EQ(contents->tensors.size(), 1u);
    EXPECT_EQ(contents->tensors[0].name, "w");
    ASSERT_EQ(contents->unread.size(), 1u);
    EXPECT_EQ(contents->unread[0].name, "t");
    EXPECT_EQ(contents->unread[0].dtype, "'" + dtype + "'");
  }
}

TEST(Safetensors, ChecksTensorsOfOtherTypesToo) {
  const BadEntry cases[] = {
      {R"({"dtype":"I64","data_offsets":[0,8]})", "has no shape"},
      {R"({"dtype":"I64","shape":[-1],"data_offsets":[0,8]})", "impossible shape"},
      {R"({"dtype":"I64","shape":[1],"data_offsets":[8,0]})", "impossible data_offsets"},
      {R"({"dtype":"I64","shape":[1],"data_offsets":[60,68]})", "ends beyond the file"},
      {R"({"dtype":"I64","dtype":"F32","shape":[1],"data_offsets":[0,8]})", "two values of dtype"},
  };
  for (const BadEntry& bad : cases)
    EXPECT_THAT(error_of_header("{\"t\":" + bad.entry + "}").message, HasSubstr(bad.text)) << bad.entry;
}

}  // namespace
}  // namespace pagoda::testing
