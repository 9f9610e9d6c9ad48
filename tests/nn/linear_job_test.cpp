// One job over several layers and threads gives what the kernel gives layer by layer.
#include "nn/linear.h"

#include <bit>
#include <vector>

#include <gtest/gtest.h>

#include "base/cpu_info.h"
#include "nn/workspace.h"

namespace pagoda {
namespace {

// A packed f32 or q8_0 matrix of made-up values.
class MadeUpLinear {
 public:
  MadeUpLinear(DType dtype, int64_t num_rows, int64_t num_cols) : bias_(static_cast<size_t>(num_rows)) {
    const size_t stored_bytes = row_bytes(dtype, static_cast<size_t>(num_cols));
    std::vector<std::byte> stored(stored_bytes * static_cast<size_t>(num_rows));
    for (size_t i = 0; i < stored.size(); ++i) stored[i] = static_cast<std::byte>(i * 37 % 251 & 0x3f);
    weight_.matrix = {dtype, num_rows, num_cols, nullptr};
    const size_t group_bytes = weight_.matrix.group_bytes();
    const auto num_groups = static_cast<size_t>(weight_.matrix.num_groups());
    packed_ = AlignedBuffer::allocate(group_bytes * num_groups).value();
    for (size_t group = 0; group < num_groups; ++group) {
      std::array<const std::byte*, 16> rows = {};
      for (size_t r = 0; r < 16; ++r)
        if (group * 16 + r < static_cast<size_t>(num_rows))
          rows[r] = stored.data() + (group * 16 + r) * stored_bytes;
      EXPECT_TRUE(pack_group(kernels_for(Isa::scalar).linear, dtype, Packing::plain, rows, num_cols,
                             packed_.data() + group * group_bytes));
    }
    weight_.matrix.data = packed_.data();
    for (size_t i = 0; i < bias_.size(); ++i) bias_[i] = static_cast<float>(i) * 0.25f;
    weight_.bias = bias_.data();
  }
  MadeUpLinear(const MadeUpLinear&) = delete;
  const LinearWeight& weight() const { return weight_; }

 private:
  AlignedBuffer packed_;
  std::vector<float> bias_;
  LinearWeight weight_;
};

constexpr int64_t kCols = 96;

class LinearJobTest : public ::testing::TestWithParam<int64_t> {};

TEST_P(LinearJobTest, AgreesWithTheKernel) {
  const int64_t num_tokens = GetParam();
  Kernels kernels = kernels_for(available_isas(detect_cpu()).back());
  kernels.prefetch.weight_bytes = 8192;
  const MadeUpLinear first(DType::q8_0, 40, kCols);
  const MadeUpLinear second(DType::f32, 7, kCols);
  const MadeUpLinear third(DType::q8_0, 33, kCols);
  FormatSet formats;
  for (const MadeUpLinear* linear : {&first, &second, &third}) formats.add(linear->weight());
  ThreadPool pool(3);
  Workspace workspace = Workspace::create(size_t{1} << 20).value();
  const ActivationRows input = ActivationRows::take(workspace, formats, num_tokens, kCols);
  std::vector<float> x(static_cast<size_t>(num_tokens * kCols));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(static_cast<int>(i * 29 % 83) - 41) / 16.0f;
  input.quantize(pool, kernels, formats, num_tokens, kCols,
                 [&](int64_t row, int) -> const float* { return x.data() + row * kCols; });

  constexpr int64_t kStride = 90;
  const std::vector<float> before(static_cast<size_t>(num_tokens * kStride), 3.5f);
  std::vector<float> got = before;
  const LinearCall calls[] = {{&first.weight(), got.data(), kStride, Store::add},
                              {&second.weight(), got.data() + 40, kStride},
                              {&third.weight(), got.data() + 47, kStride}};
  const LinearWeight absent;
  const LinearWeight* const group[] = {&first.weight(), &absent, &second.weight(), &third.weight()};
  announce_linears(pool, kernels, num_tokens, group);
  run_linears(pool, kernels, input, num_tokens, calls);
  announce_linears(pool, kernels, num_tokens, {});

  std::vector<float> want = before;
  int64_t column = 0;
  for (const LinearCall& call : calls) {
    LinearArgs args = {.weight = call.weight->matrix,
                       .activations = input.data(call.weight->matrix.activation_format()),
                       .num_tokens = num_tokens,
                       .bias = call.weight->bias,
                       .out = want.data() + column,
                       .out_stride = kStride,
                       .store = call.store};
    kernels.linear.linear(args, 0, call.weight->matrix.num_groups());
    column += call.weight->matrix.num_rows;
  }
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_EQ(std::bit_cast<uint32_t>(got[i]), std::bit_cast<uint32_t>(want[i])) << "value " << i;
  EXPECT_EQ(got[80], 3.5f);  // beyond the layers nothing is written
  EXPECT_NE(got[79], 3.5f);
}

INSTANTIATE_TEST_SUITE_P(Tokens, LinearJobTest, ::testing::Values(1, 2, 31, 33, 64, 100, 257));

TEST(Workspace, SizerCountsWhatTakeTakes) {
  WorkspaceSizer sizer;
  sizer.take<float>(3);
  sizer.take<std::byte>(65);
  sizer.take<int32_t>(0);
  EXPECT_EQ(sizer.num_bytes(), 64u + 128u);
  Workspace workspace = Workspace::create(sizer.num_bytes()).value();
  workspace.take<float>(3);
  EXPECT_EQ(workspace.take<std::byte>(65).size(), 65u);
  workspace.take<int32_t>(0);
  EXPECT_DEATH(workspace.take<std::byte>(1), "workspace");
}

}  // namespace
}  // namespace pagoda
