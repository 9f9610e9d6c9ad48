#include "base/aligned_buffer.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pagoda {
namespace {

using ::testing::HasSubstr;

constexpr size_t kHugePage = size_t{2} << 20;

AlignedBuffer allocate(size_t num_bytes) {
  auto buffer = AlignedBuffer::allocate(num_bytes);
  EXPECT_TRUE(buffer) << buffer.error().message;
  return std::move(*buffer);
}

class AlignedBufferSizes : public ::testing::TestWithParam<size_t> {};

TEST_P(AlignedBufferSizes, IsAlignedZeroAndWritableToItsEnd) {
  const size_t num_bytes = GetParam();
  AlignedBuffer buffer = allocate(num_bytes);
  ASSERT_EQ(buffer.size(), num_bytes);
  ASSERT_EQ(buffer.bytes().size(), num_bytes);
  const size_t alignment = num_bytes >= kHugePage ? kHugePage : 64;
  EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % alignment, 0u);
  EXPECT_TRUE(std::ranges::all_of(buffer.bytes(), [](std::byte b) { return b == std::byte{0}; }));
  std::ranges::fill(buffer.bytes(), std::byte{0xa5});
  EXPECT_EQ(buffer.data()[num_bytes - 1], std::byte{0xa5});
}

INSTANTIATE_TEST_SUITE_P(Sizes, AlignedBufferSizes,
                         ::testing::Values(1, 63, 64, 4095, 4096, 4097, kHugePage - 1, kHugePage,
                                           kHugePage + 1, 3 * kHugePage - 1));

TEST(AlignedBuffer, IsEmptyByDefaultAndForNoBytes) {
  const AlignedBuffer none;
  EXPECT_EQ(none.data(), nullptr);
  EXPECT_EQ(none.size(), 0u);
  EXPECT_EQ(allocate(0).size(), 0u);
}

TEST(AlignedBuffer, MovesWithoutCopying) {
  AlignedBuffer first = allocate(100);
  first.data()[99] = std::byte{7};
  const std::byte* data = first.data();
  AlignedBuffer second = std::move(first);
  EXPECT_EQ(second.data(), data);
  EXPECT_EQ(second.size(), 100u);
  EXPECT_EQ(second.data()[99], std::byte{7});
  AlignedBuffer third = allocate(kHugePage);
  third = std::move(second);
  EXPECT_EQ(third.data(), data);
  EXPECT_EQ(third.size(), 100u);
  EXPECT_EQ(third.data()[99], std::byte{7});
}

TEST(AlignedBuffer, MovedFromIsEmpty) {
  AlignedBuffer first = allocate(100);
  const AlignedBuffer second = std::move(first);
  EXPECT_EQ(first.data(), nullptr);  // NOLINT(bugprone-use-after-move): that is what is tested
  EXPECT_EQ(first.size(), 0u);
}

TEST(AlignedBuffer, GivesMemoryBack) {
  constexpr size_t kLarge = size_t{1} << 40;  // 1 TiB: all rounds together exceed the address space
  for (int round = 0; round < 256; ++round) {
    auto buffer = AlignedBuffer::allocate(kLarge);
    if (!buffer) GTEST_SKIP() << "the system reserves no 1 TiB: " << buffer.error().message;
    buffer->data()[kLarge - 1] = std::byte{1};
  }
}

TEST(AlignedBuffer, RefusesWhatCannotBe) {
  for (const size_t num_bytes : {SIZE_MAX, SIZE_MAX - kHugePage, SIZE_MAX / 2, size_t{1} << 62}) {
    const auto buffer = AlignedBuffer::allocate(num_bytes);
    ASSERT_FALSE(buffer) << num_bytes;
    EXPECT_EQ(buffer.error().code, ErrorCode::out_of_memory);
    EXPECT_THAT(buffer.error().message, HasSubstr(std::to_string(num_bytes)));
  }
}

}  // namespace
}  // namespace pagoda
