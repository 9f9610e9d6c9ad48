// The AMX body, on emulated tiles, against the scalar definition, bit by bit.
#include <string>

#include <gtest/gtest.h>

#include "kernels/emulated_tiles.h"
#include "kernels/linear_fixture.h"

namespace pagoda {
namespace {

std::string name_of(const testing::TestParamInfo<DType>& info) {
  return std::string(to_string(info.param));
}

class LinearTilesTest : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    const CpuInfo cpu = detect_cpu();
    if (!cpu.avx512 || !cpu.avx512_vnni) GTEST_SKIP() << "the body around the tiles needs AVX-512 VNNI";
  }
  DType dtype() const { return GetParam(); }
  int64_t cols(int64_t blocks) const { return (info(dtype()).block_len == 256 ? 256 : 32) * blocks; }

  // Outputs of `tokens` tokens in calls of `groups_per_call` groups, and the elements past each row.
  static std::vector<float> run(const LinearKernels& kernels, LinearArgs args, int64_t groups_per_call) {
    args.out_stride = args.weight.num_rows + 3;
    std::vector<float> out(static_cast<size_t>(args.num_tokens * args.out_stride), 0.75f);
    args.out = out.data();
    for (int64_t g = 0; g < args.weight.num_groups(); g += groups_per_call)
      kernels.linear(args, g, std::min(args.weight.num_groups(), g + groups_per_call));
    return out;
  }
  void expect_same_bits(const StoredMatrix& stored, const std::vector<float>& x, int64_t tokens,
                        const float* bias, Store store) const {
    const PackedMatrix packed(stored);
    const std::vector<float> some(x.begin(), x.begin() + tokens * stored.cols());
    const Activations activations(Isa::scalar, packed.weight().activation_format(), some, stored.cols());
    const LinearArgs args = {.weight = packed.weight(),
                             .activations = activations.data(),
                             .num_tokens = tokens,
                             .bias = bias,
                             .store = store};
    const TileUse before = tile_use();
    const std::vector<float> got = run(emulated_tile_kernels(), args, tokens % 3 == 0 ? 1 : 1000);
    ASSERT_EQ(bits_of(got), bits_of(run(kernels_for(Isa::scalar).linear, args, 1000)))
        << stored.rows() << "x" << stored.cols() << ", " << tokens << " tokens";
    EXPECT_EQ(tile_use().num_errors, before.num_errors);
    EXPECT_EQ(tile_use().num_products > before.num_products, tokens >= 16 && !is_float(dtype()));
  }
};
INSTANTIATE_TEST_SUITE_P(AllFormats, LinearTilesTest, testing::ValuesIn(kAllDTypes), name_of);

// 15 tokens fill no tile; 16 to 64 take one to four; then come remainders and further rounds.
TEST_P(LinearTilesTest, EveryNumberOfTokensAndRowsGivesTheSameBits) {
  for (const int64_t rows : {1, 16, 23, 50}) {
    const StoredMatrix stored(dtype(), rows, cols(rows == 23 ? 3 : 1), Bits::random,
                              static_cast<uint32_t>(rows));
    const std::vector<float> bias = random_floats(static_cast<size_t>(rows), 1);
    const std::vector<float> x = random_floats(static_cast<size_t>(100 * stored.cols()), 2);
    for (const int64_t tokens : {1, 15, 16, 17, 31, 32, 45, 48, 63, 64, 65, 100}) {
      expect_same_bits(stored, x, tokens, bias.data(), Store::overwrite);
      expect_same_bits(stored, x, tokens, nullptr, Store::add);
    }
  }
}

// More groups than a cache block holds.
TEST_P(LinearTilesTest, LargeShapesGiveTheSameBits) {
  const StoredMatrix stored(dtype(), 171, cols(info(dtype()).block_len == 256 ? 6 : 28), Bits::random, 3);
  const std::vector<float> x = random_floats(static_cast<size_t>(37 * stored.cols()), 4);
  expect_same_bits(stored, x, 37, nullptr, Store::overwrite);
}

TEST_P(LinearTilesTest, ExtremeValuesGiveTheSameBits) {
  for (const Bits bits : {Bits::all_ones, Bits::all_zeros, Bits::minimum_bytes}) {
    const StoredMatrix stored(dtype(), 16, cols(2), bits, 5);
    std::vector<float> x(static_cast<size_t>(16 * stored.cols()), 1.0f);
    for (size_t i = 0; i < x.size(); ++i) {
      const size_t token = i / static_cast<size_t>(stored.cols());
      if (token % 3 == 1 || (token % 3 == 2 && i % 2 == 1)) x[i] = -1.0f;
    }
    expect_same_bits(stored, x, 16, nullptr, Store::overwrite);
  }
}

}  // namespace
}  // namespace pagoda
