// Bytes come back from a block file as they were, or not at all.
#include "io/block_file.h"

#include <cstring>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/aligned_buffer.h"
#include "support/temp_folder.h"

namespace pagoda::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr size_t kPage = 4096;
constexpr size_t kBlock = size_t{2} << 20;
constexpr BlockFileId kId = {7, {11, 13}};

std::string some_bytes(size_t size) {
  std::string bytes(size, '\0');
  uint64_t state = size;
  for (char& byte : bytes) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    byte = static_cast<char>(state >> 56);
  }
  return bytes;
}

class BlockFileTest : public ::testing::Test {
 protected:
  void write(const std::string& bytes, const std::string& note = {}) {
    const Status status = write_block_file(path_, kId, bytes_of(note), bytes_of(bytes), 2);
    ASSERT_TRUE(status) << status.error().message;
    size_ = bytes.size();
  }
  // What is read, or nothing.
  Result<std::string> read(const BlockFileId& id = kId) {
    auto buffer = AlignedBuffer::allocate(size_ + kPage);
    if (!buffer) return std::unexpected(buffer.error());
    const std::span<std::byte> out = buffer->bytes().first(size_);
    if (Status status = read_block_file(path_, id, out, 2); !status) return std::unexpected(status.error());
    for (size_t i = size_; i < buffer->size(); ++i) EXPECT_EQ(buffer->data()[i], std::byte{0}) << i;
    return std::string(reinterpret_cast<const char*>(out.data()), out.size());
  }
  void expect_useless(const std::string& reason, const BlockFileId& id = kId) {
    const auto result = read(id);
    ASSERT_FALSE(result.has_value()) << reason;
    EXPECT_EQ(result.error().code, ErrorCode::corrupt);
    EXPECT_THAT(result.error().message, HasSubstr(path_));
    EXPECT_THAT(result.error().message, HasSubstr(reason));
  }
  void flip_bit(size_t at) {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(at));
    const int byte = file.get();
    file.seekp(static_cast<std::streamoff>(at));
    file.put(static_cast<char>(byte ^ (1 << at % 8)));
  }

  TempFolder folder_;
  std::string path_ = folder_.file("x");
  size_t size_ = 0;
};

TEST_F(BlockFileTest, GivesBackWhatWasWritten) {
  for (const size_t size :
       {size_t{0}, size_t{1}, kPage - 1, kPage, kBlock - 1, kBlock, kBlock + 1, 3 * kBlock + kPage + 5}) {
    const std::string bytes = some_bytes(size);
    write(bytes);
    EXPECT_EQ(read(), bytes) << size;
  }
}

TEST_F(BlockFileTest, GivesBackItsNote) {
  for (const size_t size : {size_t{0}, size_t{1}, kMaxNoteBytes}) {
    const std::string note = some_bytes(size);
    write(some_bytes(kBlock + 1), note);
    const auto read_note = read_block_file_note(path_, kId);
    ASSERT_TRUE(read_note) << read_note.error().message;
    EXPECT_TRUE(std::ranges::equal(*read_note, bytes_of(note))) << size;
    EXPECT_EQ(read(), some_bytes(kBlock + 1));
    flip_bit(60);  // the second byte of the note, or of what fills its place
    EXPECT_FALSE(read_block_file_note(path_, kId));
    expect_useless("header is damaged");
  }
  const std::string longer = some_bytes(kMaxNoteBytes + 1);
  EXPECT_FALSE(write_block_file(path_, kId, bytes_of(longer), {}, 1));
  EXPECT_EQ(read_block_file_note(folder_.file("none"), kId).error().code, ErrorCode::not_found);
}

TEST_F(BlockFileTest, ReadsIntoMemoryOfAnyAlignment) {
  const std::string bytes = some_bytes(kBlock + 100);
  write(bytes);
  std::string out(bytes.size() + 1, '\0');
  ASSERT_TRUE(read_block_file(path_, kId, std::as_writable_bytes(std::span(out).subspan(1)), 2));
  EXPECT_EQ(out.substr(1), bytes);
}

TEST_F(BlockFileTest, ReportsProgressUpToOne) {
  write(some_bytes(5 * kBlock));
  std::vector<double> seen;
  auto buffer = AlignedBuffer::allocate(size_);
  ASSERT_TRUE(buffer);
  const WorkProgress progress = {
      [](void* context, double fraction) { static_cast<std::vector<double>*>(context)->push_back(fraction); },
      &seen};
  ASSERT_TRUE(read_block_file(path_, kId, buffer->bytes(), 1, progress));
  ASSERT_FALSE(seen.empty());
  EXPECT_TRUE(std::ranges::is_sorted(seen));
  EXPECT_LE(seen.back(), 1.0);
}

TEST_F(BlockFileTest, CutShortAnywhere) {
  const std::string bytes = some_bytes(2 * kBlock + 777);
  write(bytes);
  const std::string whole = read_file(path_);
  const size_t first = 2 * kPage;  // of the blocks
  ASSERT_EQ(whole.size(), first + bytes.size());
  for (const size_t end :
       {size_t{0}, size_t{48}, kPage, first, first + kBlock, first + 2 * kBlock, whole.size()}) {
    for (const size_t size : {end - 1, end, end + 1}) {
      if (size >= whole.size()) continue;
      folder_.write("x", whole.substr(0, size));
      expect_useless("cut short");
    }
  }
  folder_.write("x", whole + "y");
  expect_useless("too long");
  folder_.write("x", whole);
  EXPECT_EQ(read(), bytes);
}

TEST_F(BlockFileTest, AnyFlippedBitIsFound) {
  const std::string bytes = some_bytes(2 * kBlock + 777);
  write(bytes);
  const size_t first = 2 * kPage;
  const size_t size = first + bytes.size();
  std::set<size_t> places;
  for (size_t i = 0; i < 64; ++i) places.insert({i, kPage + i / 2});
  for (const size_t at : {kPage, first, first + kBlock, first + 2 * kBlock, size})
    places.insert({at - 1, std::min(at, size - 1), at - 300});
  for (const size_t at : places) {
    flip_bit(at);
    EXPECT_FALSE(read()) << "byte " << at;
    flip_bit(at);
  }
  EXPECT_EQ(read(), bytes);
  flip_bit(first + kBlock);
  expect_useless("is damaged (part 2 of 3)");
  flip_bit(first + kBlock);
  flip_bit(kPage);
  expect_useless("header is damaged");
}

TEST_F(BlockFileTest, OtherVersionsSourcesAndSizes) {
  write(some_bytes(100));
  expect_useless("another version", {kId.version + 1, kId.source});
  expect_useless("something else", {kId.version, {kId.source.low, 0}});
  expect_useless("something else", {kId.version, {0, kId.source.high}});
  size_ = 99;
  expect_useless("something else");
}

TEST_F(BlockFileTest, OtherFiles) {
  EXPECT_EQ(read().error().code, ErrorCode::not_found);
  folder_.write("x", std::string(3 * kPage, 'z'));
  expect_useless("another kind");
  fs::remove(path_);
  fs::create_directory(path_);
  EXPECT_EQ(read().error().code, ErrorCode::io);
  fs::remove(path_);
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  EXPECT_EQ(read().error().code, ErrorCode::io);
}

}  // namespace
}  // namespace pagoda::testing
