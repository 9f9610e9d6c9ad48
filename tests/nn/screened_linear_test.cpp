// The greatest output of a screened layer is that of the layer, with its index and its bits.
#include "nn/screened_linear.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "base/cpu_info.h"
#include "nn/workspace.h"
#include "tensor/half.h"

namespace pagoda {
namespace {

constexpr int64_t kRows = 16 * 300 + 5;
constexpr int64_t kCols = 256;

// Rows of q8_0 or q6_k with random quants, all of them equally long.
class Layer {
 public:
  explicit Layer(DType dtype) : dtype_(dtype), row_bytes_(row_bytes(dtype, kCols)) {
    std::mt19937 random(1);
    stored_.resize(row_bytes_ * static_cast<size_t>(kRows));
    for (std::byte& byte : stored_) byte = static_cast<std::byte>(random());
    for (int64_t row = 0; row < kRows; ++row) scale(row, 0.01f);
    pack();
  }
  Layer(const Layer&) = delete;

  void scale(int64_t row, float d) {
    const DTypeInfo& type = info(dtype_);
    const uint16_t half = f32_to_f16(d);
    std::byte* bytes = stored_.data() + static_cast<size_t>(row) * row_bytes_;
    const size_t at = dtype_ == DType::q6_k ? 208 : 0;
    for (size_t i = 0; i < row_bytes_; i += type.block_bytes) std::memcpy(bytes + i + at, &half, sizeof half);
  }
  void copy(int64_t from, int64_t to) {
    std::memcpy(stored_.data() + static_cast<size_t>(to) * row_bytes_,
                stored_.data() + static_cast<size_t>(from) * row_bytes_, row_bytes_);
  }
  void pack() {
    weight_.matrix = {.dtype = dtype_, .num_rows = kRows, .num_cols = kCols, .packing = Packing::outline};
    const size_t group_bytes = weight_.matrix.group_bytes();
    const size_t details_bytes = weight_.matrix.details_bytes();
    const auto num_groups = static_cast<size_t>(weight_.matrix.num_groups());
    memory_ = AlignedBuffer::allocate((group_bytes + details_bytes) * num_groups).value();
    std::byte* details = memory_.data() + group_bytes * num_groups;
    for (size_t group = 0; group < num_groups; ++group) {
      std::array<const std::byte*, 16> rows = {};
      for (size_t r = 0; r < 16; ++r)
        if (group * 16 + r < static_cast<size_t>(kRows))
          rows[r] = stored_.data() + (group * 16 + r) * row_bytes_;
      EXPECT_TRUE(pack_group(kernels_for(Isa::scalar).linear, dtype_, Packing::outline, rows, kCols,
                             memory_.data() + group * group_bytes, details + group * details_bytes));
    }
    weight_.matrix.data = memory_.data();
    weight_.matrix.details = details;
  }
  const LinearWeight& weight() const { return weight_; }
  LinearWeight& weight() { return weight_; }

 private:
  DType dtype_;
  size_t row_bytes_;
  std::vector<std::byte> stored_;
  AlignedBuffer memory_;
  LinearWeight weight_;
};

class ScreenedLinearTest : public ::testing::TestWithParam<DType> {
 protected:
  static constexpr int64_t kStride = kRows + 3;

  ScreenedLinearTest() : layer_(GetParam()), kernels_(kernels_for(available_isas(detect_cpu()).back())) {
    kernels_.prefetch.weight_bytes = 8192;
  }

  struct Outputs {
    std::vector<float> exact;
    std::vector<float> screened;
  };
  Outputs compute(const std::vector<float>& x) {
    const int64_t num_tokens = static_cast<int64_t>(x.size()) / kCols;
    FormatSet formats;
    formats.add(layer_.weight());
    Workspace workspace = Workspace::create(size_t{1} << 20).value();
    const ActivationRows input = ActivationRows::take(workspace, formats, num_tokens, kCols);
    const auto scratch = ScreeningScratch::take(workspace, layer_.weight().matrix.num_groups());
    input.quantize(pool_, kernels_, formats, num_tokens, kCols,
                   [&](int64_t row, int) -> const float* { return x.data() + row * kCols; });
    Outputs outputs;
    outputs.exact.assign(static_cast<size_t>(num_tokens * kStride), -7.0f);
    outputs.screened = outputs.exact;
    const LinearCall all = {&layer_.weight(), outputs.exact.data(), kStride};
    run_linears(pool_, kernels_, input, num_tokens, std::span(&all, 1));
    const LinearCall call = {&layer_.weight(), outputs.screened.data(), kStride};
    run_screened_linear(pool_, kernels_, input, num_tokens, call, scratch, gate_);
    return outputs;
  }
  // How many outputs are approximations.
  static size_t expect_same_greatest(const Outputs& outputs) {
    size_t num_others = 0;
    for (size_t begin = 0; begin < outputs.exact.size(); begin += kStride) {
      const auto exact = std::span(outputs.exact).subspan(begin, kStride);
      const auto screened = std::span(outputs.screened).subspan(begin, kStride);
      const auto best = std::ranges::max_element(exact.first(kRows)) - exact.begin();
      EXPECT_EQ(std::ranges::max_element(screened.first(kRows)) - screened.begin(), best);
      const float greatest = exact[static_cast<size_t>(best)];
      for (size_t i = 0; i < kStride; ++i) {
        const bool is_same = std::bit_cast<uint32_t>(exact[i]) == std::bit_cast<uint32_t>(screened[i]);
        num_others += is_same ? 0 : 1;
        if (!is_same) {
          EXPECT_LT(exact[i], greatest) << i;
          EXPECT_LT(screened[i], greatest) << i;
        }
      }
    }
    return num_others;
  }
  std::vector<float> random_rows(int64_t num_tokens, uint32_t seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    std::vector<float> x(static_cast<size_t>(num_tokens * kCols));
    for (float& value : x) value = normal(random);
    return x;
  }

  Layer layer_;
  Kernels kernels_;
  ThreadPool pool_{3};
  ScreeningGate gate_;
};
INSTANTIATE_TEST_SUITE_P(Formats, ScreenedLinearTest, ::testing::Values(DType::q8_0, DType::q6_k),
                         [](const auto& tested) { return std::string(to_string(tested.param)); });

TEST_P(ScreenedLinearTest, FindsTheGreatest) {
  // A few rows stand out, in groups of their own, the last one too, which is not whole.
  for (const int64_t row : {3, 700, 701, 2222, 4804}) layer_.scale(row, 0.1f);
  layer_.pack();
  int num_screened = 0;
  for (uint32_t seed = 0; seed < 40; ++seed) {
    const size_t num_others = expect_same_greatest(compute(random_rows(1 + seed % 4, seed)));
    if (num_others > static_cast<size_t>(kRows) / 2) ++num_screened;
  }
  EXPECT_GT(num_screened, 10) << "most were computed exactly: nothing was tested";
}

TEST_P(ScreenedLinearTest, AllRowsAlikeMeansAllAreComputed) {
  for (int64_t row = 1; row < kRows; ++row) layer_.copy(0, row);
  layer_.pack();
  const Outputs outputs = compute(random_rows(1, 9));
  EXPECT_EQ(expect_same_greatest(outputs), 0u);
  EXPECT_EQ(outputs.exact, outputs.screened);
  EXPECT_FALSE(gate_.opens()) << "that was not worth it";
}

TEST_P(ScreenedLinearTest, OfEqualOnesTheFirst) {
  layer_.scale(2500, 0.05f);
  layer_.copy(2500, 1200);
  layer_.copy(2500, 4800);
  layer_.pack();
  for (uint32_t seed = 0; seed < 10; ++seed) expect_same_greatest(compute(random_rows(1, seed)));
}

TEST_P(ScreenedLinearTest, WhatIsNoNumberStaysVisible) {
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    std::vector<float> x = random_rows(1, 3);
    x[17] = bad;
    const Outputs outputs = compute(x);
    const auto is_bad = [](float value) { return !std::isfinite(value); };
    EXPECT_EQ(std::ranges::any_of(outputs.exact, is_bad), std::ranges::any_of(outputs.screened, is_bad));
  }
  layer_.scale(1234, std::numeric_limits<float>::infinity());
  layer_.pack();
  gate_ = {};
  EXPECT_FALSE(std::isfinite(compute(random_rows(1, 4)).screened[1234]));
}

TEST_P(ScreenedLinearTest, AllZeros) {
  const Outputs outputs = compute(std::vector<float>(kCols));
  EXPECT_EQ(outputs.exact, outputs.screened);
}

TEST_P(ScreenedLinearTest, NeedsAnOutlineFewTokensAndNoBias) {
  LinearWeight& weight = layer_.weight();
  EXPECT_TRUE(can_screen(weight, 1));
  EXPECT_TRUE(can_screen(weight, 4));
  EXPECT_FALSE(can_screen(weight, 5));
  EXPECT_FALSE(can_screen(weight, 0));
  const std::vector<float> bias(kRows);
  weight.bias = bias.data();
  EXPECT_FALSE(can_screen(weight, 1));
  weight.bias = nullptr;
  weight.matrix.packing = Packing::plain;
  EXPECT_FALSE(can_screen(weight, 1));
}

TEST(ScreeningGate, PausesLongerAndLongerWhileItIsNotWorthIt) {
  ScreeningGate gate;
  const auto steps_until_open = [&] {
    int steps = 0;
    while (!gate.opens()) ++steps;
    return steps;
  };
  EXPECT_EQ(steps_until_open(), 0);
  std::vector<int> pauses;
  for (int i = 0; i < 9; ++i) {
    gate.note(false);
    pauses.push_back(steps_until_open());
  }
  EXPECT_EQ(pauses, (std::vector<int>{1, 3, 7, 15, 31, 63, 64, 64, 64}));
  gate.note(true);
  EXPECT_EQ(steps_until_open(), 0);
  gate.note(false);
  EXPECT_EQ(steps_until_open(), 1);
}

TEST(ScreeningGate, WorthIsAShareOfTheGroups) {
  EXPECT_TRUE(ScreeningGate::is_worth(0, 60));
  EXPECT_TRUE(ScreeningGate::is_worth(10, 60));
  EXPECT_FALSE(ScreeningGate::is_worth(11, 60));
}

}  // namespace
}  // namespace pagoda
