// pack_group() of every ISA against the layout written quant by quant.
#include <gtest/gtest.h>

#include "kernels/linear_fixture.h"
#include "kernels/plain_packer.h"

namespace pagoda {
namespace {

// The buffer is exact and full of 0xcc before packing: every byte must be written, none beyond.
void expect_plain_bytes(DType dtype, Packing packing, std::span<const std::byte* const> rows, int64_t cols) {
  const size_t num_bytes = packed_group_bytes(dtype, packing, cols);
  std::vector<std::byte> want(num_bytes);
  plain::pack_group(dtype, packing, rows, cols, want.data());
  for (const Isa isa : available_isas(detect_cpu())) {
    const ExactBuffer got(num_bytes);
    ASSERT_TRUE(pack_group(kernels_for(isa).linear, dtype, packing, rows, cols, got.data()));
    for (size_t i = 0; i < num_bytes; ++i)
      ASSERT_EQ(got.data()[i], want[i])
          << to_string(isa) << ", byte " << i << " of " << num_bytes << ", " << cols << " columns";
  }
}

class PackTest : public testing::TestWithParam<std::tuple<DType, Bits>> {
 protected:
  DType dtype() const { return std::get<0>(GetParam()); }
  Bits bits() const { return std::get<1>(GetParam()); }
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
    expect_plain_bytes(dtype(), Packing::plain, rows, stored.cols());
    for (size_t r = 0; r < 16; r += 3) rows[r] = nullptr;
    expect_plain_bytes(dtype(), Packing::plain, rows, stored.cols());
  }
}

class PalettePackTest : public testing::TestWithParam<Bits> {};
INSTANTIATE_TEST_SUITE_P(Exponents, PalettePackTest, testing::Values(Bits::random, Bits::many_exponents));

TEST_P(PalettePackTest, SameBytesAsThePlainLayout) {
  for (const int64_t cols : {1, 2, 7, 8, 9, 63, 64, 65, 128, 202, 1000}) {
    const StoredMatrix stored(DType::bf16, 32, cols, GetParam(), static_cast<uint32_t>(cols));
    std::array<const std::byte*, 32> rows;
    for (int64_t r = 0; r < 32; ++r) rows[static_cast<size_t>(r)] = stored.row(31 - r);
    expect_plain_bytes(DType::bf16, Packing::palette, rows, cols);
    for (size_t r = 0; r < 32; r += 3) rows[r] = nullptr;
    expect_plain_bytes(DType::bf16, Packing::palette, rows, cols);
  }
}

// 32 rows of 8 columns, a run, whose weights have `count` exponents in a row from `first` on.
constexpr int64_t kRunCols = 8;
std::vector<uint16_t> rows_of_exponents(int first, int count) {
  std::vector<uint16_t> weights(32 * kRunCols);
  for (size_t i = 0; i < weights.size(); ++i)
    weights[i] =
        static_cast<uint16_t>((i % 2) << 15 | (static_cast<size_t>(first) + i % count) << 7 | i % 128);
  return weights;
}
std::array<const std::byte*, 32> rows_of(const std::vector<uint16_t>& weights) {
  std::array<const std::byte*, 32> rows;
  for (size_t r = 0; r < 32; ++r) rows[r] = std::as_bytes(std::span(weights)).data() + r * kRunCols * 2;
  return rows;
}
// Whether they fit; if they do, all bits must come back.
bool keeps_all_bits(const std::vector<uint16_t>& weights) {
  const ExactBuffer packed(packed_group_bytes(DType::bf16, Packing::palette, kRunCols));
  if (!pack_group(kernels_for(Isa::scalar).linear, DType::bf16, Packing::palette, rows_of(weights), kRunCols,
                  packed.data()))
    return false;
  const auto* group = reinterpret_cast<const uint8_t*>(packed.data());
  for (int r = 0; r < 32; ++r)
    for (int64_t k = 0; k < kRunCols; ++k)
      EXPECT_EQ(packed_bf16(Packing::palette, group, kRunCols, k, r),
                weights[static_cast<size_t>(r * kRunCols + k)])
          << "row " << r << " k " << k;
  return true;
}

// Subnormal numbers, infinities and what is not a number, too.
TEST(PalettePacking, KeepsTheBitsOf16Exponents) {
  for (const int first : {0, 110, 256 - kPaletteSize})
    EXPECT_TRUE(keeps_all_bits(rows_of_exponents(first, kPaletteSize)));
}

TEST(PalettePacking, KeepsAFewOtherExponents) {
  const auto room = static_cast<size_t>(palette_layout(kRunCols).num_exceptions());
  ASSERT_EQ(room, 7u);
  for (size_t num_others = 1; num_others <= room + 1; ++num_others) {
    std::vector<uint16_t> weights = rows_of_exponents(100, kPaletteSize);
    // In both halves of the rows; behind the first weights, which take the places.
    for (size_t i = 0; i < num_others; ++i)
      weights[(i % 2 * 16 + 5 + i) * kRunCols + i % kRunCols] =
          static_cast<uint16_t>(0x8055 | (200 + i % 3) << 7);
    EXPECT_EQ(keeps_all_bits(weights), num_others <= room) << num_others;
  }
}

// A null row is one of zeros, whose exponent needs a place like any other.
TEST(PalettePacking, NullRowsNeedAPlace) {
  const ExactBuffer packed(packed_group_bytes(DType::bf16, Packing::palette, kRunCols));
  const std::vector<uint16_t> weights = rows_of_exponents(100, kPaletteSize);
  std::array<const std::byte*, 32> rows = rows_of(weights);
  const auto fits = [&] {
    return pack_group(kernels_for(Isa::scalar).linear, DType::bf16, Packing::palette, rows, kRunCols,
                      packed.data());
  };
  // Seven weights of another exponent lose theirs, for which there is just room.
  rows[31] = nullptr;
  EXPECT_TRUE(fits());
  rows[3] = nullptr;
  EXPECT_FALSE(fits());
}

TEST(PalettePacking, IsChosenWhereItIsSmaller) {
  EXPECT_EQ(smallest_packing(DType::bf16, 896), Packing::palette);
  EXPECT_EQ(smallest_packing(DType::bf16, 1), Packing::plain);
  EXPECT_EQ(smallest_packing(DType::f16, 896), Packing::plain);
  EXPECT_EQ(smallest_packing(DType::bf16, kMaxPaletteCols), Packing::palette);
  EXPECT_EQ(smallest_packing(DType::bf16, kMaxPaletteCols + 1), Packing::plain);
  const auto bits = [](Packing packing) {
    return static_cast<double>(packed_group_bytes(DType::bf16, packing, 4864) * 8) /
           static_cast<double>(4864 * rows_per_group(packing));
  };
  EXPECT_EQ(bits(Packing::plain), 16.0);
  EXPECT_NEAR(bits(Packing::palette), 12.16, 0.005);
}

// Packed bytes are kept on disk between versions of the program. If this fails on purpose, raise
// kPackedLayoutVersion and put both new numbers here.
TEST(PackedLayout, ChangesOnlyWithItsVersion) {
  uint64_t state = 1;
  uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a
  std::vector<std::pair<DType, Packing>> formats;
  for (const DType dtype : kAllDTypes) formats.emplace_back(dtype, Packing::plain);
  formats.emplace_back(DType::bf16, Packing::palette);
  for (const DType dtype : {DType::q8_0, DType::q6_k}) formats.emplace_back(dtype, Packing::outline);
  for (const auto& [dtype, packing] : formats) {
    const int64_t cols = 2 * static_cast<int64_t>(info(dtype).block_len);
    const size_t bytes = row_bytes(dtype, static_cast<size_t>(cols));
    const auto num_rows = static_cast<size_t>(rows_per_group(packing));
    std::vector<std::byte> stored(num_rows * bytes);
    for (std::byte& byte : stored) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      byte = static_cast<std::byte>(state >> 56);
    }
    // For a palette few exponents.
    if (packing == Packing::palette)
      for (size_t i = 1; i < stored.size(); i += 2) stored[i] &= std::byte{0x87};
    std::vector<const std::byte*> rows(num_rows);
    for (size_t r = 0; r < num_rows; ++r) rows[r] = stored.data() + r * bytes;
    const size_t group_bytes = packed_group_bytes(dtype, packing, cols);
    std::vector<std::byte> packed(group_bytes + packed_details_bytes(dtype, packing, cols));
    ASSERT_TRUE(pack_group(kernels_for(Isa::scalar).linear, dtype, packing, rows, cols, packed.data(),
                           packed.data() + group_bytes));
    for (const std::byte byte : packed) hash = (hash ^ std::to_integer<uint64_t>(byte)) * 0x100000001b3u;
  }
  EXPECT_EQ(kPackedLayoutVersion, 5u);
  EXPECT_EQ(hash, 11346016858385852113u);
}

}  // namespace
}  // namespace pagoda
