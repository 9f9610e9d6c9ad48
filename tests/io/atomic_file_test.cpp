// Files appear whole or not at all, whatever happens to their writer.
#include <csignal>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/file_writer.h"
#include "support/temp_folder.h"

namespace pagoda::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

bool is_empty(const TempFolder& folder) {
  return fs::directory_iterator(folder.path()) == fs::directory_iterator();
}

// Runs body() in a process of its own; its result, or minus the signal that ended it.
template <class Body>
int in_child(Body&& body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

TEST(AtomicFile, WithoutCommitNothingStays) {
  const TempFolder folder;
  {
    auto file = AtomicFile::create(folder.file("x"));
    ASSERT_TRUE(file) << file.error().message;
    ASSERT_TRUE(file->write(bytes_of("half")));
    EXPECT_FALSE(fs::exists(folder.file("x")));
  }
  EXPECT_TRUE(is_empty(folder));
}

TEST(AtomicFile, AppendsUntilCommitted) {
  const TempFolder folder;
  auto file = AtomicFile::create(folder.file("x"));
  ASSERT_TRUE(file);
  ASSERT_TRUE(file->reserve(1000));  // more than is written: the file is as long as its contents
  ASSERT_TRUE(file->write(bytes_of("one ")));
  ASSERT_TRUE(file->write(bytes_of("two")));
  ASSERT_TRUE(file->commit());
  EXPECT_EQ(read_file(folder.file("x")), "one two");
  EXPECT_FALSE(fs::exists(folder.file("x.partial")));
}

TEST(AtomicFile, AKilledWriterIsNoObstacle) {
  const TempFolder folder;
  folder.write("x", "before");
  const auto write_and_die = [&] {
    auto file = AtomicFile::create(folder.file("x"));
    if (!file || !file->write(bytes_of(std::string(100000, 'z')))) return 1;
    return raise(SIGKILL);
  };
  EXPECT_EQ(in_child(write_and_die), -SIGKILL);
  EXPECT_EQ(read_file(folder.file("x")), "before");
  EXPECT_TRUE(fs::exists(folder.file("x.partial")));
  ASSERT_TRUE(write_file_atomically(folder.file("x"), bytes_of("after")));
  EXPECT_EQ(read_file(folder.file("x")), "after");
  EXPECT_FALSE(fs::exists(folder.file("x.partial")));
}

TEST(AtomicFile, OneWriterAtATime) {
  const TempFolder folder;
  auto first = AtomicFile::create(folder.file("x"));
  ASSERT_TRUE(first);
  const auto second = AtomicFile::create(folder.file("x"));
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, HasSubstr("another process"));
  ASSERT_TRUE(first->write(bytes_of("first")));
  ASSERT_TRUE(first->commit());
  EXPECT_EQ(read_file(folder.file("x")), "first");
  EXPECT_TRUE(AtomicFile::create(folder.file("x")));
}

TEST(AtomicFile, FollowsNoLink) {
  const TempFolder folder;
  folder.write("victim", "kept");
  fs::create_symlink(folder.file("victim"), folder.file("x.partial"));
  EXPECT_FALSE(AtomicFile::create(folder.file("x")));
  fs::remove(folder.file("x.partial"));
  fs::create_hard_link(folder.file("victim"), folder.file("x.partial"));
  EXPECT_FALSE(AtomicFile::create(folder.file("x")));
  EXPECT_EQ(read_file(folder.file("victim")), "kept");
}

TEST(AtomicFile, ALimitOfTheProcessIsAnError) {
  const TempFolder folder;
  const auto limited = [&] {
    const rlimit limit = {1000, 1000};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 2;
    const Status status = write_file_atomically(folder.file("x"), bytes_of(std::string(1001, 'z')));
    return status ? 1 : 0;
  };
  EXPECT_EQ(in_child(limited), 0);
  EXPECT_TRUE(is_empty(folder));
}

TEST(AtomicFile, AFullDiskIsAnError) {
  const TempFolder folder;
  constexpr int kCannotMount = 77;
  const auto on_a_small_disk = [&] {
    const std::string user = fmt::format("0 {} 1", geteuid());
    const std::string group = fmt::format("0 {} 1", getegid());
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return kCannotMount;
    std::ofstream("/proc/self/uid_map") << user;
    std::ofstream("/proc/self/setgroups") << "deny";
    std::ofstream("/proc/self/gid_map") << group;
    if (mount("none", folder.path().c_str(), "tmpfs", 0, "size=64k") != 0) return kCannotMount;
    const std::string large(200'000, 'z');
    if (!write_file_atomically(folder.file("x"), bytes_of("small"))) return 5;
    fs::remove(folder.file("x"));
    if (write_file_atomically(folder.file("x"), bytes_of(large)) || !is_empty(folder)) return 1;
    // Without asking for the room first.
    auto file = AtomicFile::create(folder.file("x"));
    if (!file) return 2;
    if (file->write(bytes_of(large))) return 3;
    file = std::unexpected(Error{});
    return is_empty(folder) ? 0 : 4;
  };
  const int result = in_child(on_a_small_disk);
  if (result == kCannotMount) GTEST_SKIP() << "this system lets no process mount a small disk";
  EXPECT_EQ(result, 0);
}

}  // namespace
}  // namespace pagoda::testing
