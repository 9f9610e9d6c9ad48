// Quantised activations: their definition at the edges, and the same bytes from every ISA.
#include <cmath>
#include <limits>
#include <string>

#include <gtest/gtest.h>

#include "kernels/isa/linear_layout.h"
#include "kernels/linear_fixture.h"

namespace pagoda {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

class QuantizeTest : public testing::TestWithParam<Isa> {
 protected:
  static std::vector<Activation32> blocks32(const std::vector<float>& x) {
    const Activations row(GetParam(), ActivationFormat::q8_32, x, static_cast<int64_t>(x.size()));
    std::vector<Activation32> blocks(x.size() / 32);
    std::memcpy(blocks.data(), row.data(), blocks.size() * sizeof(Activation32));
    return blocks;
  }
  static std::vector<Activation256> blocks256(const std::vector<float>& x) {
    const Activations row(GetParam(), ActivationFormat::q8_256, x, static_cast<int64_t>(x.size()));
    std::vector<Activation256> blocks(x.size() / 256);
    std::memcpy(blocks.data(), row.data(), blocks.size() * sizeof(Activation256));
    return blocks;
  }
};
INSTANTIATE_TEST_SUITE_P(AllIsas, QuantizeTest, testing::ValuesIn(available_isas(detect_cpu())),
                         [](const testing::TestParamInfo<Isa>& isa) {
                           return std::string(to_string(isa.param));
                         });

TEST_P(QuantizeTest, BlockOf32HoldsScaleQuantsAndSums) {
  std::vector<float> x(64);
  for (size_t i = 0; i < 64; ++i) x[i] = static_cast<float>(i) - 20.0f;
  const std::vector<Activation32> blocks = blocks32(x);
  for (size_t b = 0; b < 2; ++b) {
    const float max = b == 0 ? 20.0f : 43.0f;
    EXPECT_EQ(blocks[b].scale, max / 127.0f);
    int sum = 0;
    for (size_t i = 0; i < 32; ++i) {
      EXPECT_EQ(blocks[b].q[i], static_cast<int>(std::nearbyint(x[32 * b + i] * (127.0f / max)))) << i;
      sum += blocks[b].q[i];
    }
    EXPECT_EQ(blocks[b].scaled_sum, blocks[b].scale * static_cast<float>(sum));
    EXPECT_EQ(blocks[b].minus_8_sum, -8 * sum);
    EXPECT_EQ(blocks[b].minus_16_sum, -16 * sum);
    EXPECT_EQ(blocks[b].minus_128_sum, -128 * sum);
  }
}

TEST_P(QuantizeTest, BlockOf256HoldsScaleQuantsAndSums) {
  std::vector<float> x(256);
  for (size_t i = 0; i < 256; ++i) x[i] = std::ldexp(static_cast<float>((i * 37) % 255) - 127.0f, -3);
  const Activation256 block = blocks256(x)[0];
  EXPECT_EQ(block.scale, (127.0f / 8.0f) / 127.0f);
  for (size_t run = 0; run < 8; ++run) {
    int sums[2] = {};
    for (size_t i = 0; i < 32; ++i) {
      EXPECT_EQ(block.runs[run].q[i], x[32 * run + i] * 8.0f) << i;
      sums[i / 16] += block.runs[run].q[i];
    }
    EXPECT_EQ(block.runs[run].minus_32_sums16[0], -32 * sums[0]);
    EXPECT_EQ(block.runs[run].minus_32_sums16[1], -32 * sums[1]);
    EXPECT_EQ(block.sums32[run], sums[0] + sums[1]);
  }
}

TEST_P(QuantizeTest, TiesRoundToEven) {
  std::vector<float> x(256, 0.0f);
  x[0] = 127.0f;
  x[1] = 0.5f, x[2] = 1.5f, x[3] = 2.5f, x[4] = -0.5f, x[5] = -1.5f, x[6] = -2.5f, x[7] = 125.5f,
  x[8] = -126.5f;
  const Activation32 small = blocks32(x)[0];
  const Activation256 large = blocks256(x)[0];
  const int expected[] = {127, 0, 2, 2, 0, -2, -2, 126, -126};
  for (size_t i = 0; i < std::size(expected); ++i) {
    EXPECT_EQ(small.q[i], expected[i]) << i;
    EXPECT_EQ(large.runs[0].q[i], expected[i]) << i;
  }
}

TEST_P(QuantizeTest, ZeroBlocksHaveScaleZero) {
  std::vector<float> x(256, 0.0f);
  x[40] = -0.0f;
  for (const Activation32& block : blocks32(x)) {
    EXPECT_EQ(block.scale, 0.0f);
    EXPECT_EQ(block.scaled_sum, 0.0f);
    for (const int8_t q : block.q) EXPECT_EQ(q, 0);
  }
  const Activation256 block = blocks256(x)[0];
  EXPECT_EQ(block.scale, 0.0f);
  for (const auto& run : block.runs)
    for (const int8_t q : run.q) EXPECT_EQ(q, 0);
}

TEST_P(QuantizeTest, InfinityMakesTheScaleInfiniteAndNanIsLeftOut) {
  std::vector<float> x(32, 2.0f);
  x[3] = -kInf;
  const Activation32 with_infinity = blocks32(x)[0];
  EXPECT_EQ(with_infinity.scale, kInf);
  for (const int8_t q : with_infinity.q) EXPECT_EQ(q, 0);
  x[3] = kNan;
  const Activation32 with_nan = blocks32(x)[0];
  EXPECT_EQ(with_nan.scale, 2.0f / 127.0f);
  for (size_t i = 0; i < 32; ++i) EXPECT_EQ(with_nan.q[i], i == 3 ? 0 : 127);
  EXPECT_EQ(blocks32(std::vector<float>(32, kNan))[0].scale, 0.0f);
}

// Values so small that 127 / max overflows still give quants in range, and zeros stay zeros.
TEST_P(QuantizeTest, SubnormalBlocksStayInRange) {
  std::vector<float> x(32, 0.0f);
  x[0] = 1e-44f;
  x[1] = -1e-44f;
  const Activation32 block = blocks32(x)[0];
  EXPECT_EQ(block.q[0], 127);
  EXPECT_EQ(block.q[1], -127);
  EXPECT_EQ(block.q[2], 0);
}

TEST_P(QuantizeTest, SameBytesAsTheDefinition) {
  std::vector<float> x = random_floats(5 * 1024, 20);
  x[7] = kNan, x[300] = kInf, x[600] = 1e-42f, x[1000] = 3e38f;
  std::fill(x.begin() + 2048, x.begin() + 2560, 0.0f);
  for (size_t i = 2560; i < 3072; ++i) x[i] = static_cast<float>(static_cast<int>(i * 31 % 509) - 254) / 2.0f;
  for (const ActivationFormat format :
       {ActivationFormat::f32, ActivationFormat::bf16, ActivationFormat::q8_32, ActivationFormat::q8_256})
    for (const int64_t cols : {1024, 256, 512})
      EXPECT_EQ(Activations(GetParam(), format, x, cols).bytes(),
                Activations(Isa::scalar, format, x, cols).bytes());
}

// Where 16 blocks are quantised at a time, 18 and 33 are not a multiple; what is not finite is in both runs.
TEST_P(QuantizeTest, BlocksBeyondAMultipleOf16GiveTheSameBytes) {
  for (const int64_t cols : {18 * 32, 33 * 32}) {
    std::vector<float> x = random_floats(static_cast<size_t>(4 * cols), 23);
    x[2 * 32 + 5] = kNan, x[17 * 32] = -kInf;
    x[static_cast<size_t>(cols) + 3 * 32] = kInf;
    const auto tiny = x.begin() + 2 * cols + 17 * 32;
    std::fill(tiny, tiny + 32, 1e-43f);
    EXPECT_EQ(Activations(GetParam(), ActivationFormat::q8_32, x, cols).bytes(),
              Activations(Isa::scalar, ActivationFormat::q8_32, x, cols).bytes());
  }
}

TEST_P(QuantizeTest, RowsOfBf16AreRoundedAndPadded) {
  std::vector<float> x = random_floats(37, 22);
  x[3] = kNan, x[4] = kInf, x[5] = 3.4e38f, x[36] = 1e-40f;
  const Activations row(GetParam(), ActivationFormat::bf16, x, 37);
  ASSERT_EQ(row.bytes().size(), 192u);
  for (size_t i = 0; i < 96; ++i) {
    uint16_t bits = 0;
    std::memcpy(&bits, row.data() + 2 * i, sizeof bits);
    EXPECT_EQ(bits, i < x.size() ? f32_to_bf16(x[i]) : 0) << i;
  }
}

TEST_P(QuantizeTest, ShortRowsOf32ArePadded) {
  const std::vector<float> x = random_floats(7 * 32, 21);
  const Activations row(GetParam(), ActivationFormat::q8_32, x, 7 * 32);
  EXPECT_EQ(activation_row_bytes(ActivationFormat::q8_32, 7 * 32) % 128, 64u);
  EXPECT_EQ(row.bytes(), Activations(Isa::scalar, ActivationFormat::q8_32, x, 7 * 32).bytes());
  for (size_t i = 7 * sizeof(Activation32); i < row.bytes().size(); ++i)
    EXPECT_EQ(row.bytes()[i], std::byte{0});
}

}  // namespace
}  // namespace pagoda
