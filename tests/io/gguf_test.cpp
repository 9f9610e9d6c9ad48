#include <bit>
#include <cstring>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/model_file.h"
#include "io/small_files.h"

namespace pagoda::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Result<GgufContents> parse(const std::string& file) {
  return parse_gguf(bytes_of(file), "x.gguf");
}

// The one error of a file that must be refused.
Error error_of(const std::string& file) {
  const auto contents = parse(file);
  if (contents) {
    ADD_FAILURE() << "was read";
    return {};
  }
  EXPECT_THAT(contents.error().message, ::testing::StartsWith("x.gguf: "));
  return contents.error();
}
Error error_of(const GgufWriter& file) {
  return error_of(file.bytes());
}
void expect_corrupt(const GgufWriter& file, const std::string& text) {
  const Error error = error_of(file);
  EXPECT_EQ(error.code, ErrorCode::corrupt);
  EXPECT_THAT(error.message, HasSubstr(text));
}

TEST(Gguf, ReadsEveryMetadataType) {
  const std::string file = small_gguf().bytes();
  const auto contents = parse(file);
  ASSERT_TRUE(contents) << contents.error().message;
  const Metadata& metadata = contents->metadata;
  EXPECT_EQ(contents->version, 3u);
  EXPECT_EQ(metadata.at("general.architecture"), MetaValue(std::string("llama")));
  EXPECT_EQ(metadata.at("a.u8"), MetaValue(int64_t{200}));
  EXPECT_EQ(metadata.at("a.i8"), MetaValue(int64_t{-100}));
  EXPECT_EQ(metadata.at("a.u16"), MetaValue(int64_t{60000}));
  EXPECT_EQ(metadata.at("a.i16"), MetaValue(int64_t{-30000}));
  EXPECT_EQ(metadata.at("a.u32"), MetaValue(int64_t{4000000000}));
  EXPECT_EQ(metadata.at("a.i32"), MetaValue(int64_t{-2000000000}));
  EXPECT_EQ(metadata.at("a.u64"), MetaValue(int64_t{9000000000}));
  EXPECT_EQ(metadata.at("a.i64"), MetaValue(int64_t{-9000000000}));
  EXPECT_EQ(metadata.at("a.f32"), MetaValue(0.5));
  EXPECT_EQ(metadata.at("a.f64"), MetaValue(0.1));
  EXPECT_EQ(metadata.at("a.true"), MetaValue(true));
  EXPECT_EQ(metadata.at("a.false"), MetaValue(false));
  EXPECT_EQ(std::get<std::vector<std::string_view>>(metadata.at("a.strings")).at(1), "x");
  EXPECT_EQ(metadata.at("a.ints"), MetaValue(std::vector<int64_t>{-1, 0, 1}));
  EXPECT_EQ(metadata.at("a.floats"), MetaValue(std::vector<double>{0.25, -4.0}));
  EXPECT_EQ(metadata.at("a.bools"), MetaValue(std::vector<bool>{true, false, true}));
  EXPECT_EQ(metadata.at("a.empty"), MetaValue(std::vector<int64_t>{}));
  EXPECT_EQ(metadata.size(), 18u);
}

TEST(Gguf, TensorsAreRowMajorViewsInFileOrder) {
  const std::string file = small_gguf().bytes();
  const auto contents = parse(file);
  ASSERT_TRUE(contents) << contents.error().message;
  ASSERT_EQ(contents->tensors.size(), 3u);
  const NamedTensor& embedding = contents->tensors[0];
  EXPECT_EQ(embedding.name, "token_embd.weight");
  EXPECT_EQ(embedding.view.dtype, DType::f32);
  EXPECT_EQ(embedding.view.shape, (Shape{2, {2, 3}}));
  const NamedTensor& query = contents->tensors[1];
  EXPECT_EQ(query.view.dtype, DType::q4_0);
  EXPECT_EQ(query.view.shape, (Shape{3, {2, 1, 64}}));
  EXPECT_EQ(query.view.num_rows(), 2);
  for (const auto& [tensor, data] :
       {std::pair(&embedding, counting_bytes(24)), std::pair(&query, counting_bytes(72, 100)),
        std::pair(&contents->tensors[2], counting_bytes(10, 50))}) {
    EXPECT_EQ(tensor->file_offset % 32, 0u);
    EXPECT_EQ(tensor->view.data.data(), bytes_of(file).data() + tensor->file_offset);
    EXPECT_TRUE(std::ranges::equal(tensor->view.data, data)) << tensor->name;
  }
}

TEST(Gguf, ReadsVersion2AndOtherAlignments) {
  for (const size_t alignment : {8, 64, 4096}) {
    GgufWriter file(2, alignment);
    file.add("general.alignment", static_cast<uint32_t>(alignment));
    file.add_tensor("a", DType::f32, {1, {3}}, counting_bytes(12));
    file.add_tensor("b", DType::f32, {1, {1}}, counting_bytes(4, 77));
    const std::string bytes = file.bytes();
    const auto contents = parse(bytes);
    ASSERT_TRUE(contents) << contents.error().message;
    EXPECT_EQ(contents->version, 2u);
    EXPECT_EQ(contents->tensors[1].file_offset % alignment, 0u);
    EXPECT_EQ(contents->tensors[1].view.data[0], std::byte{77});
  }
}

TEST(Gguf, AFileWithoutTensorsIsFine) {
  const auto contents = parse(GgufWriter().add("general.architecture", "llama").bytes());
  ASSERT_TRUE(contents) << contents.error().message;
  EXPECT_TRUE(contents->tensors.empty());
}

TEST(Gguf, TheLastTensorNeedsNoPadding) {
  GgufWriter file;
  file.add_tensor("a", DType::f32, {1, {1}}, counting_bytes(4));
  std::string bytes = file.bytes();
  bytes.resize(bytes.size() - 28);
  EXPECT_TRUE(parse(bytes));
  bytes.pop_back();
  EXPECT_THAT(error_of(bytes).message, HasSubstr("tensor 'a' ends beyond the file"));
}

TEST(Gguf, OtherFilesGetTheirOwnSentence) {
  const Error html = error_of("<!DOCTYPE html><html><body>404 Not Found</body></html>");
  EXPECT_EQ(html.code, ErrorCode::corrupt);
  EXPECT_THAT(html.message, HasSubstr("is not a GGUF file"));
  EXPECT_THAT(html.message, HasSubstr("web page"));
  EXPECT_THAT(error_of(small_safetensors()).message, HasSubstr("is not a GGUF file"));
  EXPECT_THAT(error_of(std::string("GG")).message, HasSubstr("ends inside the magic number"));

  const std::string good = small_gguf().bytes();
  std::string big_endian = good;
  std::swap(big_endian[4], big_endian[7]);
  EXPECT_EQ(error_of(big_endian).code, ErrorCode::unsupported);
  EXPECT_THAT(error_of(big_endian).message, HasSubstr("big-endian"));
  EXPECT_THAT(error_of(GgufWriter(1)).message, HasSubstr("is GGUF version 1; Pagoda reads versions 2 and 3"));
  EXPECT_THAT(error_of(GgufWriter(4)).message, HasSubstr("version 4"));
}

TEST(Gguf, RefusesImpossibleCounts) {
  for (const uint64_t count : {uint64_t{1} << 60, ~uint64_t{0}, uint64_t{1000}}) {
    GgufWriter tensors;
    tensors.set_counts(count, 0);
    expect_corrupt(tensors, "more than the file can hold");
    GgufWriter keys;
    keys.set_counts(0, count);
    expect_corrupt(keys, "more than the file can hold");
  }
}

TEST(Gguf, RefusesImpossibleArraysAndStrings) {
  for (const uint64_t count : {uint64_t{1} << 60, ~uint64_t{0}, uint64_t{1} << 62, uint64_t{100}})
    for (uint32_t type = 0; type < 13; ++type) {
      if (type == static_cast<uint32_t>(GgufType::array)) continue;
      GgufWriter file;
      file.add_raw("k").put(GgufType::array).put(type).put(count);
      expect_corrupt(file, "metadata 'k' claims");
    }
  GgufWriter text;
  text.add_raw("k").put(GgufType::string).put(uint64_t{1} << 60);
  expect_corrupt(text, "metadata 'k' claims 1152921504606846976 bytes of text");
  GgufWriter cut;
  cut.add_raw("k").put(GgufType::string).put(uint64_t{1000}).put_bytes("abc");
  expect_corrupt(cut, "ends inside metadata 'k'");
  GgufWriter strings;
  strings.add_raw("k")
      .put(GgufType::array)
      .put(GgufType::string)
      .put(uint64_t{2})
      .put_string("a")
      .put(uint64_t{1000});
  expect_corrupt(strings, "ends inside metadata 'k'");
}

TEST(Gguf, RefusesUnknownAndNestedValueTypes) {
  for (const uint32_t type : {13u, 255u, 0xffffffffu}) {
    GgufWriter scalar;
    scalar.add_raw("k").put(type).put(uint64_t{0});
    expect_corrupt(scalar, "metadata 'k' has the unknown value type " + std::to_string(type));
    GgufWriter array;
    array.add_raw("k").put(GgufType::array).put(type).put(uint64_t{0}).put(uint64_t{0});
    expect_corrupt(array, "metadata 'k' has the unknown value type " + std::to_string(type));
  }
  GgufWriter nested;
  nested.add_raw("k").put(GgufType::array).put(GgufType::array).put(uint64_t{1}).put(GgufType::u8);
  EXPECT_EQ(error_of(nested).code, ErrorCode::unsupported);
  EXPECT_THAT(error_of(nested).message, HasSubstr("metadata 'k' is an array of arrays"));
}

TEST(Gguf, RefusesIntegersBeyondInt64) {
  expect_corrupt(GgufWriter().add("k", ~uint64_t{0}), "metadata 'k' is 18446744073709551615");
  expect_corrupt(GgufWriter().add("k", std::vector<uint64_t>{1, uint64_t{1} << 63}), "metadata 'k'");
  EXPECT_TRUE(parse(GgufWriter().add("k", uint64_t{std::numeric_limits<int64_t>::max()}).bytes()));
}

TEST(Gguf, RefusesNamesThatStandTwice) {
  expect_corrupt(GgufWriter().add("k", 1u).add("k", 2u), "metadata 'k' stands in the file twice");
  GgufWriter file;
  file.add_tensor("a", DType::f32, {1, {1}}, counting_bytes(4));
  file.add_tensor("a", DType::f32, {1, {1}}, counting_bytes(4));
  expect_corrupt(file, "tensor 'a' stands in the file twice");
}

TEST(Gguf, RefusesBadAlignments) {
  for (const uint32_t alignment : {0u, 3u, 48u, 1u << 21, 0x80000000u})
    expect_corrupt(GgufWriter().add("general.alignment", alignment), "general.alignment");
  expect_corrupt(GgufWriter().add("general.alignment", "32"), "general.alignment");
  expect_corrupt(GgufWriter().add("general.alignment", int64_t{-32}), "general.alignment");
}

struct BadTensor {
  std::vector<uint64_t> dims;
  uint32_t type_id;
  uint64_t offset;
  std::string text;
};

TEST(Gguf, RefusesImpossibleTensors) {
  constexpr uint64_t kBig = uint64_t{1} << 60;
  const BadTensor cases[] = {
      {{}, 0, 0, "has 0 dimensions"},
      {{1, 1, 1, 1, 1}, 0, 0, "has 5 dimensions"},
      {{0}, 0, 0, "impossible size"},
      {{4, 0, 4}, 0, 0, "impossible size"},
      {{~uint64_t{0}}, 0, 0, "impossible size"},
      {{kBig, kBig}, 0, 0, "impossible size"},
      {{uint64_t{1} << 32, uint64_t{1} << 32}, 0, 0, "impossible size"},  // the product wraps to 0
      {{kBig, 4}, 0, 0, "impossible size"},                               // 2^62 elements, 2^64 bytes
      {{kBig}, 0, 0, "ends beyond the file"},
      {{16}, 0, 32, "ends beyond the file"},
      {{8}, 0, ~uint64_t{0} - 31, "ends beyond the file"},  // the offset wraps round
      {{8}, 0, kBig, "ends beyond the file"},
      {{8}, 0, 16, "not aligned to 32"},
      {{33}, 2, 0, "rows of 33 elements, not whole blocks of q4_0"},
      {{16, 2}, 2, 0, "rows of 16 elements, not whole blocks of q4_0"},
      {{128, 2}, 12, 0, "rows of 128 elements, not whole blocks of q4_k"},
  };
  for (const BadTensor& bad : cases) {
    GgufWriter file;
    file.add_raw_tensor("bad", bad.dims, bad.type_id, bad.offset);
    const std::string bytes = file.bytes() + std::string(64, '\0');
    const Error error = error_of(bytes);
    EXPECT_EQ(error.code, ErrorCode::corrupt);
    EXPECT_THAT(error.message, HasSubstr("tensor 'bad'"));
    EXPECT_THAT(error.message, HasSubstr(bad.text));
  }
}

TEST(Gguf, NamesTheTypeThatItDoesNotRead) {
  for (const uint32_t type_id : {4u, 9u, 23u, 39u, 1000u}) {
    GgufWriter file;
    file.add_raw_tensor("t", std::vector<uint64_t>{32}, type_id, 0);
    const Error error = error_of(file);
    EXPECT_EQ(error.code, ErrorCode::unsupported);
    EXPECT_THAT(error.message, HasSubstr("tensor 't' is stored in GGUF type " + std::to_string(type_id)));
  }
}

TEST(Gguf, HostileNamesCannotSpoilAMessage) {
  const std::string name = "\x1b[2J\n\xff" + std::string(60000, 'n');
  GgufWriter file;
  file.add(name, 1u).add(name, 2u);
  const Error error = error_of(file);
  EXPECT_THAT(error.message, HasSubstr("'\\x1b[2J\\x0a\\xffnnn"));
  EXPECT_LT(error.message.size(), 300u);
  expect_corrupt(GgufWriter().add(std::string(70000, 'k'), 1u), "a metadata key claims 70000 bytes");
}

}  // namespace
}  // namespace pagoda::testing
