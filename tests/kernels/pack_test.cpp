// pack_group() against the layout written quant by quant.
#include <gtest/gtest.h>

#include "kernels/linear_fixture.h"
#include "kernels/plain_packer.h"

namespace pagoda {
namespace {

class PackTest : public testing::TestWithParam<std::tuple<DType, Bits>> {
 protected:
  DType dtype() const { return std::get<0>(GetParam()); }
  Bits bits() const { return std::get<1>(GetParam()); }
  // The buffer is exact and full of 0xcc before packing: every byte must be written, none beyond.
  void expect_plain_bytes(std::span<const std::byte* const, 16> rows, int64_t cols) const {
    const size_t num_bytes = packed_group_bytes(dtype(), cols);
    std::vector<std::byte> want(num_bytes);
    plain::pack_group(dtype(), rows, cols, want.data());
    const ExactBuffer got(num_bytes);
    pack_group(dtype(), rows, cols, got.data());
    for (size_t i = 0; i < num_bytes; ++i)
      ASSERT_EQ(got.data()[i], want[i]) << "byte " << i << " of " << num_bytes << ", " << cols << " columns";
  }
};
INSTANTIATE_TEST_SUITE_P(AllFormats, PackTest,
                         testing::Combine(testing::ValuesIn(kAllDTypes),
                                          testing::Values(Bits::random, Bits::all_ones, Bits::minimum_bytes)),
                         [](const auto& tested) {
                           return fmt::format("{}_{}", to_string(std::get<0>(tested.param)),
                                              static_cast<int>(std::get<1>(tested.param)));
                         });

TEST_P(PackTest, SameBytesAsThePlainLayout) {
  const auto block = static_cast<int64_t>(info(dtype()).block_len);
  // One column more or less than a run of plain values; odd numbers of blocks.
  for (const int64_t blocks : {1, 2, 3, 7, 63, 64, 65}) {
    const StoredMatrix stored(dtype(), 16, blocks * block, bits(), static_cast<uint32_t>(blocks));
    std::array<const std::byte*, 16> rows;
    for (int64_t r = 0; r < 16; ++r) rows[static_cast<size_t>(r)] = stored.row(15 - r);
    expect_plain_bytes(rows, stored.cols());
    for (size_t r = 0; r < 16; r += 3) rows[r] = nullptr;
    expect_plain_bytes(rows, stored.cols());
  }
}

// Packed bytes are kept on disk between versions of the program. If this fails on purpose, raise
// kPackedLayoutVersion and put both new numbers here.
TEST(PackedLayout, ChangesOnlyWithItsVersion) {
  uint64_t state = 1;
  uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a
  for (const DType dtype : kAllDTypes) {
    const int64_t cols = 2 * static_cast<int64_t>(info(dtype).block_len);
    const size_t bytes = row_bytes(dtype, static_cast<size_t>(cols));
    std::vector<std::byte> stored(16 * bytes);
    for (std::byte& byte : stored) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      byte = static_cast<std::byte>(state >> 56);
    }
    std::array<const std::byte*, 16> rows;
    for (size_t r = 0; r < 16; ++r) rows[r] = stored.data() + r * bytes;
    std::vector<std::byte> packed(packed_group_bytes(dtype, cols));
    pack_group(dtype, rows, cols, packed.data());
    for (const std::byte byte : packed) hash = (hash ^ std::to_integer<uint64_t>(byte)) * 0x100000001b3u;
  }
  EXPECT_EQ(kPackedLayoutVersion, 2u);
  EXPECT_EQ(hash, 1083869273179840750u);
}

}  // namespace
}  // namespace pagoda
