#include "sample/philox.h"

#include <cmath>
#include <set>
#include <vector>

#include <gtest/gtest.h>

namespace pagoda {
namespace {

// Known answers of the authors' Random123 library for philox4x32-10.
TEST(Philox, KnownAnswers) {
  using Words = std::array<uint32_t, 4>;
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Uniform, IsUniformOverPositionsSeedsAndStreams) {
  constexpr int kBins = 64;
  constexpr int kDraws = 64000;
  const auto chi_square = [](auto draw) {
    std::vector<int> counts(kBins);
    for (int i = 0; i < kDraws; ++i) {
      const float value = draw(static_cast<uint32_t>(i));
      EXPECT_TRUE(value >= 0.0f && value < 1.0f);
      ++counts[static_cast<size_t>(value * kBins)];
    }
    double sum = 0;
    for (const int count : counts) sum += std::pow(count - kDraws / kBins, 2) / (kDraws / kBins);
    return sum;
  };
  // 63 degrees of freedom: above 103 with probability 0.001.
  EXPECT_LT(chi_square([](uint32_t i) { return uniform(42, i, 0); }), 103);
  EXPECT_LT(chi_square([](uint32_t i) { return uniform(i, 7, 0); }), 103);
  EXPECT_LT(chi_square([](uint32_t i) { return uniform(42, 7, i); }), 103);
}

TEST(DeriveSeed, KeepsTheFirstAndSpreadsTheOthers) {
  EXPECT_EQ(derive_seed(123, 0), 123u);
  std::set<uint64_t> seeds;
  for (uint64_t seed = 0; seed < 10; ++seed)
    for (uint64_t index = 0; index < 100; ++index) seeds.insert(derive_seed(seed, index));
  EXPECT_EQ(seeds.size(), 1000u);
}

}  // namespace
}  // namespace pagoda
