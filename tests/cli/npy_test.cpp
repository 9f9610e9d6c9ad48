#include "cli/npy.h"
#include "cli/input_file.h"

#include <cstring>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/token_ids.h"

namespace pagoda {
namespace {

using ::testing::HasSubstr;

std::string npy_with(const std::string& header, std::string_view data) {
  std::string bytes("\x93NUMPY\x01\x00", 8);
  bytes += static_cast<char>(header.size());
  bytes += '\0';
  return bytes.append(header).append(data);
}

std::string npy_of(std::string_view descr, std::string_view data, std::string_view shape = "(2,)",
                   std::string_view fortran_order = "False") {
  return npy_with(
      fmt::format("{{'descr': '{}', 'fortran_order': {}, 'shape': {}, }}\n", descr, fortran_order, shape),
      data);
}

const std::string kTwoIds("\x07\0\0\0\0\0\1\0", 8);

std::string temporary_file(const std::string& name) {
  return (std::filesystem::path(testing::TempDir()) / ("pagoda_npy_test_" + name)).string();
}

TEST(Npy, WritesAVersion1File) {
  const std::string path = temporary_file("out.npy");
  auto writer = NpyWriter::create(path, 2, 3);
  ASSERT_TRUE(writer) << writer.error().message;
  const std::vector<float> rows = {1, 2, 3, 4, 5, 6};
  ASSERT_TRUE(writer->write_row(std::span(rows).first(3)));
  ASSERT_TRUE(writer->write_row(std::span(rows).last(3)));
  ASSERT_TRUE(writer->finish());
  const std::string bytes = read_input_file(path).value();
  std::filesystem::remove(path);
  EXPECT_EQ(bytes.substr(0, 8), std::string("\x93NUMPY\x01\x00", 8));
  const size_t header_len =
      static_cast<unsigned char>(bytes[8]) + 256u * static_cast<unsigned char>(bytes[9]);
  EXPECT_EQ((10 + header_len) % 64, 0u);
  const std::string header = bytes.substr(10, header_len);
  EXPECT_TRUE(header.starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }")) << header;
  EXPECT_EQ(header.back(), '\n');
  ASSERT_EQ(bytes.size(), 10 + header_len + rows.size() * sizeof(float));
  EXPECT_EQ(std::memcmp(bytes.data() + 10 + header_len, rows.data(), rows.size() * sizeof(float)), 0);
}

TEST(Npy, RemovesAFileThatIsNotFinished) {
  const std::string path = temporary_file("unfinished.npy");
  {
    auto writer = NpyWriter::create(path, 2, 1);
    ASSERT_TRUE(writer) << writer.error().message;
    ASSERT_TRUE(std::filesystem::exists(path));
    ASSERT_TRUE(writer->write_row(std::vector<float>{1}));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(Npy, SaysWhereItCannotWrite) {
  const auto writer = NpyWriter::create("/nowhere/out.npy", 1, 1);
  ASSERT_FALSE(writer);
  EXPECT_NE(writer.error().message.find("/nowhere/out.npy"), std::string::npos);
}

TEST(Npy, ReadsIds) {
  const std::vector<int32_t> expected = {7, 65536};
  EXPECT_EQ(parse_npy_ids(npy_of("<i4", std::string("\x07\0\0\0\0\0\1\0", 8)), "x"), expected);
  EXPECT_EQ(parse_npy_ids(npy_of("<i8", std::string("\x07\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0", 16)), "x"),
            expected);
}

TEST(Npy, ReadsARow) {
  EXPECT_EQ(parse_npy_ids(npy_of("<i4", kTwoIds, "(1, 2)"), "x"), (std::vector<int32_t>{7, 65536}));
  EXPECT_EQ(parse_npy_ids(npy_with("{'shape':(2,),'fortran_order':False,'descr':'<i4'}", kTwoIds), "x"),
            (std::vector<int32_t>{7, 65536}));
}

void expect_refused(const std::string& bytes, const char* field) {
  const auto ids = parse_npy_ids(bytes, "x.npy");
  ASSERT_FALSE(ids) << field;
  EXPECT_TRUE(ids.error().message.starts_with("x.npy: ")) << ids.error().message;
  EXPECT_THAT(ids.error().message, HasSubstr(field));
}

TEST(Npy, RefusesOtherArrays) {
  for (const char* descr : {"<f4", ">i4", "<i2", "<u8", "|b1", "|O", ""})
    expect_refused(npy_of(descr, kTwoIds), "'descr'");
  for (const char* shape :
       {"()", "(2, 1)", "(1, 1, 2)", "(-2,)", "(2.0,)", "(99999999999999999999,)", "2", "(2,"})
    expect_refused(npy_of("<i4", kTwoIds, shape), "'shape'");
  for (const char* order : {"True", "0", "None"})
    expect_refused(npy_of("<i4", kTwoIds, "(2,)", order), "'fortran_order'");
  expect_refused(npy_with("{'descr': '<i4', 'fortran_order': False}", kTwoIds), "no 'shape'");
  expect_refused(npy_with("{'descr': '<i4', 'descr': '<i4', 'fortran_order': False}", kTwoIds),
                 "field 'descr'");
  expect_refused(npy_with("{'descr': '<i4', 'fortran_order': False, 'shape': (2,), 'x': 1}", kTwoIds), "'x'");
  expect_refused(npy_with("descr: <i4", kTwoIds), "header");
}

TEST(Npy, SizeMustBeWhatTheShapeSays) {
  expect_refused(npy_of("<i4", kTwoIds, "(3,)"), "'shape' says 3 elements");
  expect_refused(npy_of("<i4", kTwoIds, "(1,)"), "8 bytes follow");
  expect_refused(npy_of("<i8", kTwoIds, "(4611686018427387905,)"), "'shape'");
  expect_refused(npy_of("<i4", "\xff\xff\xff\xff", "(1,)"), "element 0 is -1");
}

TEST(Npy, RefusesDamagedFiles) {
  const std::string good = npy_of("<i4", kTwoIds);
  for (size_t size = 0; size < good.size(); ++size)
    EXPECT_FALSE(parse_npy_ids(std::string_view(good).substr(0, size), "x")) << size;
}

TEST(TokenIds, ReadsText) {
  EXPECT_EQ(parse_ids("1,2, 3\n4\t5\r\n"), (std::vector<int32_t>{1, 2, 3, 4, 5}));
  for (const char* text : {"", " ", "1,x", "-1", "1.5", "99999999999"}) EXPECT_FALSE(parse_ids(text)) << text;
}

}  // namespace
}  // namespace pagoda
