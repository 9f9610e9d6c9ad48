#include "io/file_system.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/aligned_buffer.h"
#include "support/temp_folder.h"

namespace pagoda::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class FileSystemTest : public ::testing::Test {
 protected:
  TempFolder folder_;
  FileSystem& files_ = system_files();
};

TEST_F(FileSystemTest, BytesComeBack) {
  AlignedBuffer buffer = std::move(*AlignedBuffer::allocate(8192));
  const std::string path = folder_.file("x");
  const auto file = std::move(*files_.open(path, OpenMode::create));
  ASSERT_TRUE(file->resize(12288));
  EXPECT_EQ(file->size(), 12288u);
  std::ranges::fill(buffer.bytes(), std::byte{3});
  EXPECT_EQ(file->write_at(4096, buffer.bytes().first(4096)), 4096u);
  EXPECT_TRUE(file->sync());
  EXPECT_EQ(read_file(path), std::string(4096, '\0') + std::string(4096, '\3') + std::string(4096, '\0'));
  const auto again = std::move(*files_.open(path, OpenMode::read));
  EXPECT_EQ(again->read_at(8192, buffer.bytes()), 4096u) << "up to the end";
  EXPECT_EQ(again->read_at(12288, buffer.bytes()), 0u);
  EXPECT_EQ(buffer.data()[0], std::byte{0});
  EXPECT_FALSE(again->write_at(0, buffer.bytes()));
  EXPECT_TRUE(file->resize(4096));
  EXPECT_EQ(again->size(), 4096u);
}

TEST_F(FileSystemTest, ResizingTakesRoomOnTheDisk) {
  const auto file = std::move(*files_.open(folder_.file("x"), OpenMode::create));
  ASSERT_TRUE(file->resize(1 << 20));
  struct stat status{};
  ASSERT_EQ(stat(file->path().c_str(), &status), 0);
  EXPECT_GE(status.st_blocks * 512, 1 << 20);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST_F(FileSystemTest, SaysWhatIsNotThere) {
  const auto none = files_.open(folder_.file("none"), OpenMode::write);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::not_found);
  EXPECT_THAT(none.error().message, HasSubstr(folder_.file("none")));
  EXPECT_EQ(files_.list(folder_.file("none")).error().code, ErrorCode::not_found);
  EXPECT_FALSE(files_.remove(folder_.file("none")));
}

TEST_F(FileSystemTest, OpensOnlyRegularFiles) {
  EXPECT_FALSE(files_.open(folder_.path(), OpenMode::read));
  ASSERT_EQ(mkfifo(folder_.file("pipe").c_str(), 0600), 0);
  EXPECT_FALSE(files_.open(folder_.file("pipe"), OpenMode::read)) << "and does not wait for a writer";
  folder_.write("x", "");
  ASSERT_EQ(symlink(folder_.file("x").c_str(), folder_.file("link").c_str()), 0);
  EXPECT_FALSE(files_.open(folder_.file("link"), OpenMode::write));
}

TEST_F(FileSystemTest, CreatesListsAndRemoves) {
  const std::string path = folder_.path() + "/a/b";
  ASSERT_TRUE(files_.create_folder(path));
  ASSERT_TRUE(files_.create_folder(path)) << "it exists";
  for (const char* name : {"2", "1"}) ASSERT_TRUE(files_.open(path + "/" + name, OpenMode::create));
  EXPECT_FALSE(files_.open(path + "/1", OpenMode::create)) << "it exists";
  EXPECT_THAT(*files_.list(path), ElementsAre("1", "2"));
  EXPECT_TRUE(files_.remove(path + "/1"));
  EXPECT_TRUE(files_.sync_folder(path));
  EXPECT_THAT(*files_.list(path), ElementsAre("2"));
  EXPECT_FALSE(files_.create_folder(path + "/2")) << "a file has that name";
}

TEST_F(FileSystemTest, OneHoldsALock) {
  auto lock = files_.lock(folder_.file("lock"));
  ASSERT_TRUE(lock && *lock != nullptr);
  const auto second = files_.lock(folder_.file("lock"));
  ASSERT_TRUE(second);
  EXPECT_EQ(*second, nullptr);
  lock->reset();
  const auto third = files_.lock(folder_.file("lock"));
  EXPECT_TRUE(third && *third != nullptr);
  EXPECT_FALSE(files_.lock(folder_.file("none") + "/lock"));
}

}  // namespace
}  // namespace pagoda::testing
