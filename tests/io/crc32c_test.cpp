#include "io/crc32c.h"

#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "support/temp_folder.h"

namespace pagoda::testing {
namespace {

// The definition: polynomial division, bit by bit.
uint32_t crc_by_bits(std::span<const std::byte> bytes) {
  uint32_t crc = ~uint32_t{0};
  for (const std::byte byte : bytes) {
    crc ^= static_cast<uint32_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? 0x82F63B78u : 0);
  }
  return ~crc;
}

// RFC 3720, appendix B.4.
TEST(Crc32cTest, KnownValues) {
  EXPECT_EQ(crc32c(bytes_of("123456789")), 0xE3069283u);
  EXPECT_EQ(crc32c({}), 0u);
  EXPECT_EQ(crc32c(std::vector<std::byte>(32)), 0x8A9136AAu);
  EXPECT_EQ(crc32c(std::vector<std::byte>(32, std::byte{0xFF})), 0x62A8AB43u);
}

TEST(Crc32cTest, AllWaysAgree) {
  std::mt19937_64 random(1);
  std::vector<std::byte> bytes(40000);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  for (const size_t size : {0, 1, 7, 8, 9, 63, 4096, 12287, 12288, 12289, 24577, 39990}) {
    for (const size_t offset : {0, 1, 5}) {
      const auto part = std::span(bytes).subspan(offset, size);
      EXPECT_EQ(crc32c(part), crc_by_bits(part)) << size << " at " << offset;
      EXPECT_EQ(crc32c_portable(part), crc_by_bits(part)) << size << " at " << offset;
    }
  }
}

}  // namespace
}  // namespace pagoda::testing
