// Requests through a queue do what plain calls would, in whatever order they end.
#include "io/io_queue.h"

#include <array>
#include <map>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/aligned_buffer.h"
#include "support/temp_folder.h"

namespace pagoda::testing {
namespace {

using ::testing::HasSubstr;

constexpr size_t kBlock = 4096;

class IoQueueTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (GetParam() == std::string_view("threads")) {
      queue_ = make_thread_io_queue(3);
      return;
    }
    auto queue = make_uring_io_queue(8);
    if (!queue) GTEST_SKIP() << queue.error().message;
    queue_ = std::move(*queue);
  }
  std::unique_ptr<File> create(const std::string& name, uint64_t size) {
    auto file = system_files().open(folder_.file(name), OpenMode::create);
    EXPECT_TRUE(file && (*file)->resize(size));
    return std::move(*file);
  }
  // Of so many requests.
  std::map<uint64_t, Status> collect(size_t count) {
    std::map<uint64_t, Status> ended;
    std::array<IoResult, 3> results;
    while (ended.size() < count) {
      const size_t num = queue_->wait(results);
      for (size_t i = 0; i < num; ++i) ended[results[i].tag] = results[i].status;
    }
    return ended;
  }
  std::span<std::byte> block(size_t index) { return buffer_.bytes().subspan(index * kBlock, kBlock); }

  TempFolder folder_;
  AlignedBuffer buffer_ = std::move(*AlignedBuffer::allocate(128 * kBlock));
  std::unique_ptr<IoQueue> queue_;
};

TEST_P(IoQueueTest, WritesAndReads) {
  constexpr size_t kCount = 64;  // more than the ring is deep
  const auto file = create("x", kCount * kBlock);
  for (size_t i = 0; i < kCount; ++i) {
    std::ranges::fill(block(i), static_cast<std::byte>(i + 1));
    queue_->submit({IoRequest::Kind::write, file.get(), i * kBlock, block(i), i});
  }
  for (const auto& [tag, status] : collect(kCount)) EXPECT_TRUE(status) << tag;
  queue_->submit({IoRequest::Kind::sync, file.get(), 0, {}, 7});
  EXPECT_TRUE(collect(1).at(7));
  for (size_t i = 0; i < kCount; ++i)
    queue_->submit({IoRequest::Kind::read, file.get(), (kCount - 1 - i) * kBlock, block(64 + i), i});
  for (const auto& [tag, status] : collect(kCount)) EXPECT_TRUE(status) << tag;
  for (size_t i = 0; i < kCount; ++i)
    EXPECT_THAT(block(64 + i), ::testing::Each(static_cast<std::byte>(kCount - i)));
}

TEST_P(IoQueueTest, AFileThatIsTooShortIsAnError) {
  const auto file = create("x", 2 * kBlock);
  queue_->submit({IoRequest::Kind::read, file.get(), kBlock, buffer_.bytes().first(2 * kBlock), 1});
  const Status status = collect(1).at(1);
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, HasSubstr(folder_.file("x") + ": is cut short"));
}

TEST_P(IoQueueTest, RefusalsNameTheFile) {
  create("x", kBlock);
  const auto file = std::move(*system_files().open(folder_.file("x"), OpenMode::read));
  queue_->submit({IoRequest::Kind::write, file.get(), 0, block(0), 1});
  const Status status = collect(1).at(1);
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, HasSubstr(folder_.file("x") + ": cannot be written: "));
}

TEST_P(IoQueueTest, WakesFromAnotherThread) {
  std::array<IoResult, 1> results;
  std::jthread other([this] { queue_->wake(); });
  EXPECT_EQ(queue_->wait(results), 0u);
  other.join();
  queue_->wake();
  EXPECT_EQ(queue_->wait(results), 0u) << "a wake-up before the wait counts, too";
}

INSTANTIATE_TEST_SUITE_P(Kinds, IoQueueTest, ::testing::Values("uring", "threads"),
                         [](const auto& parameter) { return std::string(parameter.param); });

}  // namespace
}  // namespace pagoda::testing
