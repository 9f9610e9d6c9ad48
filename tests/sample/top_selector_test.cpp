#include "sample/top_selector.h"

#include <algorithm>
#include <limits>
#include <random>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "support/plain_kernels.h"

namespace pagoda {
namespace {

const Kernels kKernels = testing::plain_kernels();

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<TokenLogprob> reference(const std::vector<float>& values, size_t n, float floor) {
  std::vector<TokenLogprob> all;
  for (size_t i = 0; i < values.size(); ++i)
    if (values[i] >= floor && values[i] != -kInfinity) all.push_back({static_cast<int32_t>(i), values[i]});
  std::ranges::sort(all, [](const auto& a, const auto& b) {
    return a.logprob != b.logprob ? a.logprob > b.logprob : a.token < b.token;
  });
  all.resize(std::min(n, all.size()));
  return all;
}

void expect_same(std::span<const TokenLogprob> actual, const std::vector<TokenLogprob>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    EXPECT_EQ(actual[i].token, expected[i].token) << "at " << i;
    EXPECT_EQ(actual[i].logprob, expected[i].logprob) << "at " << i;
  }
}

TEST(TopSelector, AgreesWithASortWhateverTheOrderAndTies) {
  std::mt19937 random(1);
  for (const size_t size : {1u, 2u, 255u, 256u, 257u, 5000u}) {
    TopSelector selector(kKernels, static_cast<int64_t>(size));
    for (const int num_levels : {1, 3, 50, 1000000}) {
      std::vector<float> values(size);
      for (float& value : values) value = static_cast<float>(random() % static_cast<uint32_t>(num_levels));
      for (const bool ascending : {false, true}) {
        if (ascending) std::ranges::sort(values);
        for (const size_t n : {1u, 2u, 20u, 256u, 4096u, 100000u}) {
          SCOPED_TRACE(fmt::format("size {}, levels {}, ascending {}, n {}", size, num_levels, ascending, n));
          expect_same(selector.select(values, n, -kInfinity), reference(values, n, -kInfinity));
          const float floor = values[size / 2];
          expect_same(selector.select(values, n, floor), reference(values, n, floor));
        }
      }
    }
  }
}

TEST(TopSelector, LeavesMaskedValuesOut) {
  const std::vector<float> values = {-kInfinity, 1.0f, -kInfinity, 2.0f};
  TopSelector selector(kKernels, 4);
  expect_same(selector.select(values, 4, -kInfinity), {{3, 2.0f}, {1, 1.0f}});
  EXPECT_TRUE(selector.select(values, 0, -kInfinity).empty());
}

}  // namespace
}  // namespace pagoda
