// The conversions against independent ones: the compiler's _Float16 and, for bf16, the choice of the nearer
// neighbour.
#include "tensor/half.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace pagoda {
namespace {

float float_of(uint32_t bits) {
  return std::bit_cast<float>(bits);
}

// What the compiler makes of it, by its own soft-float or the processor's instructions.
uint16_t reference_f16(float value) {
  return std::bit_cast<uint16_t>(static_cast<_Float16>(value));
}

// The nearer of the two bf16 neighbours by exact distances in double; at a tie the one with an even last bit.
uint16_t reference_bf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if (std::isinf(value)) return static_cast<uint16_t>(bits >> 16);
  const auto toward_zero = static_cast<uint16_t>(bits >> 16);
  const auto away = static_cast<uint16_t>(toward_zero + 1);
  const double exact = std::abs(static_cast<double>(value));
  const double low = std::abs(static_cast<double>(float_of(uint32_t{toward_zero} << 16)));
  // Beyond the largest finite value the next step of the grid counts as infinity.
  const double high = (away & 0x7fff) == 0x7f80
                          ? std::ldexp(1.0, 128)
                          : std::abs(static_cast<double>(float_of(uint32_t{away} << 16)));
  const double to_low = exact - low;
  const double to_high = high - exact;
  if (to_low == to_high) return (toward_zero & 1) == 0 ? toward_zero : away;
  return to_low < to_high ? toward_zero : away;
}

bool is_nan_f16(uint16_t bits) {
  return (bits & 0x7fff) > 0x7c00;
}
bool is_nan_bf16(uint16_t bits) {
  return (bits & 0x7fff) > 0x7f80;
}

// Floats around every place where rounding to 16 bits can go wrong, both signs, then random bit patterns.
std::vector<float> hard_floats() {
  std::vector<float> values;
  const auto add_near = [&](uint32_t bits) {
    for (const int step : {-2, -1, 0, 1, 2})
      for (const uint32_t sign : {0u, 0x80000000u}) values.push_back(float_of((bits + step) ^ sign));
  };
  for (uint32_t half = 0; half < 0x7c00; ++half) {
    const double low = f16_to_f32(static_cast<uint16_t>(half));
    const double high = half == 0x7bff ? 65536.0 : f16_to_f32(static_cast<uint16_t>(half + 1));
    add_near(std::bit_cast<uint32_t>(static_cast<float>((low + high) / 2)));  // exact: a tie
    add_near(std::bit_cast<uint32_t>(static_cast<float>(low)));
  }
  for (uint32_t top = 0; top <= 0x7f80; ++top) {
    add_near(top << 16);
    add_near(top << 16 | 0x8000);
  }
  std::mt19937 random(1);
  for (int i = 0; i < 1'000'000; ++i) values.push_back(float_of(random()));
  return values;
}

TEST(Half, EveryF16WidensAsTheCompilerDoes) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float got = f16_to_f32(half);
    const auto want = static_cast<float>(std::bit_cast<_Float16>(half));
    if (is_nan_f16(half)) {
      EXPECT_TRUE(std::isnan(got)) << bits;
      EXPECT_EQ(std::signbit(got), bits >= 0x8000) << bits;
    } else {
      ASSERT_EQ(std::bit_cast<uint32_t>(got), std::bit_cast<uint32_t>(want)) << bits;
    }
  }
}

TEST(Half, EveryF16ComesBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const uint16_t back = f32_to_f16(f16_to_f32(half));
    ASSERT_EQ(back, is_nan_f16(half) ? half | 0x200 : half) << bits;  // a NaN stays, made quiet
  }
}

TEST(Half, EveryBf16ComesBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float wide = bf16_to_f32(half);
    ASSERT_EQ(std::bit_cast<uint32_t>(wide), bits << 16);
    ASSERT_EQ(f32_to_bf16(wide), is_nan_bf16(half) ? half | 0x40 : half) << bits;
  }
}

TEST(Half, RoundsToNearestEven) {
  for (const float value : hard_floats()) {
    if (std::isnan(value)) continue;
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    ASSERT_EQ(f32_to_f16(value), reference_f16(value)) << std::hex << bits;
    ASSERT_EQ(f32_to_bf16(value), reference_bf16(value)) << std::hex << bits;
  }
}

TEST(Half, NanStaysNan) {
  for (const uint32_t bits : {0x7f800001u, 0x7fc00000u, 0x7fffffffu, 0xff800001u, 0xffffffffu, 0x7f801fffu}) {
    const float nan = float_of(bits);
    EXPECT_TRUE(is_nan_f16(f32_to_f16(nan))) << std::hex << bits;
    EXPECT_TRUE(is_nan_bf16(f32_to_bf16(nan))) << std::hex << bits;
    EXPECT_EQ(f32_to_f16(nan) >> 15, bits >> 31);
    EXPECT_EQ(f32_to_bf16(nan) >> 15, bits >> 31);
  }
}

TEST(Half, KnownValues) {
  EXPECT_EQ(f32_to_f16(1.0f), 0x3c00);
  EXPECT_EQ(f32_to_f16(-2.0f), 0xc000);
  EXPECT_EQ(f32_to_f16(65504.0f), 0x7bff);
  EXPECT_EQ(f32_to_f16(65519.99f), 0x7bff);
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7c00);  // a tie with infinity
  EXPECT_EQ(f32_to_f16(0x1p-24f), 0x0001);  // the smallest subnormal
  EXPECT_EQ(f32_to_f16(0x1p-25f), 0x0000);  // a tie with zero
  EXPECT_EQ(f32_to_f16(0x1.8p-25f), 0x0001);
  EXPECT_EQ(f32_to_f16(0x1.ffep-15f), 0x0400);  // a tie between a subnormal and the smallest normal
  EXPECT_EQ(f32_to_f16(-0.0f), 0x8000);
  EXPECT_EQ(f32_to_bf16(1.0f), 0x3f80);
  EXPECT_EQ(f32_to_bf16(0x1.01p0f), 0x3f80);  // ties go to even: down
  EXPECT_EQ(f32_to_bf16(0x1.03p0f), 0x3f82);  // and up
  EXPECT_EQ(f32_to_bf16(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_EQ(f32_to_bf16(std::numeric_limits<float>::denorm_min()), 0x0000);
  EXPECT_EQ(f32_to_bf16(0x1p-133f), 0x0001);  // the smallest subnormal
}

}  // namespace
}  // namespace pagoda
