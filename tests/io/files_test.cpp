// Mapping, reading and writing whole files.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/file_writer.h"
#include "io/mapped_file.h"
#include "io/quote.h"
#include "support/temp_folder.h"

namespace pagoda::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
size_t num_entries(const TempFolder& folder) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()));
}

TEST(MappedFile, ShowsTheWholeFile) {
  const TempFolder folder;
  auto file = MappedFile::open(folder.write("x", "hello"));
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(text_of(file->bytes()), "hello");
  const auto* address = file->bytes().data();
  MappedFile moved = std::move(*file);
  EXPECT_EQ(moved.bytes().data(), address);
  EXPECT_TRUE(file->bytes().empty());
  auto other = MappedFile::open(folder.write("y", "second"));
  ASSERT_TRUE(other);
  moved = std::move(*other);
  EXPECT_EQ(text_of(moved.bytes()), "second");
}

TEST(MappedFile, OutlivesTheNameOfTheFile) {
  const TempFolder folder;
  const auto file = MappedFile::open(folder.write("x", "hello"));
  ASSERT_TRUE(file);
  fs::remove(folder.file("x"));
  EXPECT_EQ(text_of(file->bytes()), "hello");
}

TEST(MappedFile, ReadsPartsWithoutTheMapping) {
  const TempFolder folder;
  const std::string path = folder.write("x", std::string(10'000, 'a') + "hello");
  const auto file = MappedFile::open(path);
  ASSERT_TRUE(file);
  std::array<std::byte, 5> out;
  ASSERT_TRUE(file->read(file->bytes().last(5), out));
  EXPECT_EQ(text_of(out), "hello");
  fs::resize_file(path, 10'002);
  const Status shortened = file->read(file->bytes().last(5), out);
  ASSERT_FALSE(shortened);
  EXPECT_EQ(shortened.error().code, ErrorCode::io);
}

TEST(MappedFile, SaysWhatIsWrong) {
  const TempFolder folder;
  EXPECT_EQ(MappedFile::open(folder.file("none")).error().code, ErrorCode::not_found);
  EXPECT_EQ(MappedFile::open(folder.path()).error().code, ErrorCode::io);
  EXPECT_EQ(MappedFile::open(folder.write("empty", "")).error().code, ErrorCode::corrupt);
  ASSERT_EQ(mkfifo(folder.file("pipe").c_str(), 0600), 0);
  EXPECT_THAT(MappedFile::open(folder.file("pipe")).error().message,
              HasSubstr(folder.file("pipe") + ": is not a regular file"));
}

TEST(ReadTextFile, ReadsUpToTheLimit) {
  const TempFolder folder;
  const std::string text(200000, 'x');
  folder.write("x", text);
  EXPECT_EQ(read_text_file(folder.file("x"), text.size()), text);
  EXPECT_EQ(read_text_file(folder.write("empty", ""), 0), "");
  const auto too_long = read_text_file(folder.file("x"), text.size() - 1);
  ASSERT_FALSE(too_long);
  EXPECT_EQ(too_long.error().code, ErrorCode::corrupt);
  EXPECT_THAT(too_long.error().message, HasSubstr("is longer than 199999 bytes"));
  EXPECT_EQ(read_text_file(folder.file("none"), 10).error().code, ErrorCode::not_found);
  EXPECT_EQ(read_text_file(folder.path(), 10).error().code, ErrorCode::io);
  EXPECT_EQ(read_text_file("/dev/zero", 10).error().code, ErrorCode::io);
}

TEST(FileWriter, WritesAndReplaces) {
  const TempFolder folder;
  const std::string path = folder.file("x");
  for (const std::string& text : {std::string("first"), std::string(300000, 'y'), std::string()}) {
    const Status status = write_file_atomically(path, bytes_of(text));
    ASSERT_TRUE(status) << status.error().message;
    EXPECT_EQ(read_file(path), text);
    EXPECT_EQ(num_entries(folder), 1u);
  }
  struct stat status{};
  ASSERT_EQ(stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0644u);
}

TEST(FileWriter, AFailureLeavesEverythingAsItWas) {
  const TempFolder folder;
  const Status no_folder = write_file_atomically(folder.file("none/x"), bytes_of("text"));
  ASSERT_FALSE(no_folder);
  EXPECT_EQ(no_folder.error().code, ErrorCode::io);
  EXPECT_THAT(no_folder.error().message, HasSubstr(folder.file("none/x")));

  // The target is a folder, so that the last step, the renaming, fails.
  fs::create_directory(folder.file("taken"));
  folder.write("taken/inside", "kept");
  ASSERT_FALSE(write_file_atomically(folder.file("taken"), bytes_of("text")));
  EXPECT_EQ(read_file(folder.file("taken/inside")), "kept");
  EXPECT_EQ(num_entries(folder), 1u);
}

TEST(Quote, ShowsNamesOnOneLine) {
  EXPECT_EQ(quote("model.norm.weight"), "'model.norm.weight'");
  EXPECT_EQ(quote(""), "''");
  EXPECT_EQ(quote(std::string_view("a\n\x1b[0m\0\xc3\xa9", 9)), "'a\\x0a\\x1b[0m\\x00\\xc3\\xa9'");
  EXPECT_EQ(quote(std::string(80, 'n')), "'" + std::string(80, 'n') + "'");
  EXPECT_EQ(quote(std::string(81, 'n')), "'" + std::string(80, 'n') + "…'");
  // What is shown is bounded, not what is read: escapes are four times as long.
  EXPECT_EQ(quote(std::string(77, 'n') + "\n"), "'" + std::string(77, 'n') + "…'");
  EXPECT_LE(quote(std::string(1000, '\xff')).size(), 2 + 80 + std::string_view("…").size());
}

}  // namespace
}  // namespace pagoda::testing
