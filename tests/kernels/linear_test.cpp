// The scalar definition against double precision, and every ISA against the scalar definition, bit by bit.
#include "kernels/linear.h"

#include <cmath>
#include <cstdlib>
#include <string>

#include <gtest/gtest.h>

#include "kernels/isa/linear_layout.h"
#include "kernels/linear_fixture.h"

namespace pagoda {
namespace {

struct Format {
  DType weights = DType::f32;
  FloatActivations activations = FloatActivations::f32;
  Packing packing = Packing::plain;
};

std::vector<Format> all_formats() {
  std::vector<Format> formats = {{DType::bf16, FloatActivations::bf16},
                                 {DType::bf16, FloatActivations::f32, Packing::palette},
                                 {DType::bf16, FloatActivations::bf16, Packing::palette},
                                 {DType::q8_0, FloatActivations::f32, Packing::outline},
                                 {DType::q6_k, FloatActivations::f32, Packing::outline}};
  for (const DType dtype : kAllDTypes) formats.push_back({dtype});
  return formats;
}

std::string name_of(const testing::TestParamInfo<Format>& info) {
  return std::string(to_string(info.param.weights)) +
         (info.param.packing == Packing::palette ? "_palette" : "") +
         (info.param.packing == Packing::outline ? "_outline" : "") +
         (info.param.activations == FloatActivations::bf16 ? "_times_bf16" : "");
}

class LinearTest : public testing::TestWithParam<Format> {
 protected:
  DType dtype() const { return GetParam().weights; }
  PackedMatrix pack(const StoredMatrix& stored) const {
    return PackedMatrix(stored, GetParam().activations, GetParam().packing);
  }
  ActivationFormat format() const {
    return PackedWeight{dtype(), 0, 0, nullptr, GetParam().activations}.activation_format();
  }
  // A multiple of every block length involved.
  int64_t cols(int64_t blocks) const { return (info(dtype()).block_len == 256 ? 256 : 32) * blocks; }
};
INSTANTIATE_TEST_SUITE_P(AllFormats, LinearTest, testing::ValuesIn(all_formats()), name_of);

// What quantised activations stand for: a row of x, rounded as the format says.
std::vector<double> meant_by(ActivationFormat format, const float* x, int64_t cols) {
  std::vector<double> values(x, x + cols);
  if (format == ActivationFormat::f32) return values;
  if (format == ActivationFormat::bf16) {
    for (double& value : values) value = bf16_to_f32(f32_to_bf16(static_cast<float>(value)));
    return values;
  }
  const int64_t block = format == ActivationFormat::q8_32 ? 32 : 256;
  for (int64_t b = 0; b < cols; b += block) {
    float max = 0;
    for (int64_t i = b; i < b + block; ++i) max = std::max(max, std::fabs(x[i]));
    for (int64_t i = b; i < b + block; ++i)
      values[static_cast<size_t>(i)] =
          std::nearbyint(x[i] * (127.0f / max)) * static_cast<double>(max / 127.0f);
  }
  return values;
}

TEST_P(LinearTest, ScalarAgreesWithDoublePrecision) {
  const int64_t tokens = 3;
  const StoredMatrix stored(dtype(), 37, cols(6), Bits::random, 1);
  const PackedMatrix packed = pack(stored);
  const std::vector<float> x = random_floats(static_cast<size_t>(tokens * stored.cols()), 2);
  const std::vector<float> bias = random_floats(static_cast<size_t>(stored.rows()), 3);
  const Activations activations(Isa::scalar, format(), x, stored.cols());
  const LinearRun run = {.num_tokens = tokens, .bias = bias.data(), .store = Store::add, .initial = 0.5f};
  const std::vector<float> out = run(packed.weight(), activations.data());
  const auto stride = static_cast<int64_t>(out.size()) / tokens;
  for (int64_t t = 0; t < tokens; ++t) {
    const std::vector<double> a = meant_by(format(), x.data() + t * stored.cols(), stored.cols());
    for (int64_t r = 0; r < stored.rows(); ++r) {
      const std::vector<float> w = stored.dequantised(r);
      double expected = 0.5 + bias[static_cast<size_t>(r)];
      double magnitude = std::fabs(expected);
      for (size_t k = 0; k < w.size(); ++k) {
        expected += a[k] * w[k];
        magnitude += std::fabs(a[k] * w[k]);
      }
      ASSERT_NEAR(out[static_cast<size_t>(t * stride + r)], expected, 4e-7 * magnitude)
          << "row " << r << " token " << t;
    }
  }
}

// With scales that are powers of two and one activation of 127, every product is exact: the output is the
// weight.
TEST_P(LinearTest, PackingKeepsEveryWeight) {
  const StoredMatrix stored(dtype(), 19, cols(2), Bits::power_of_two, 4);
  const PackedMatrix packed = pack(stored);
  const int64_t n = stored.cols();
  std::vector<float> one_hot(static_cast<size_t>(n * n));
  for (int64_t k = 0; k < n; ++k) one_hot[static_cast<size_t>(k * n + k)] = 127.0f;
  const Activations activations(Isa::scalar, format(), one_hot, n);
  const std::vector<float> out = LinearRun{.num_tokens = n}(packed.weight(), activations.data());
  const auto stride = static_cast<int64_t>(out.size()) / n;
  for (int64_t r = 0; r < stored.rows(); ++r) {
    const std::vector<float> w = stored.dequantised(r);
    for (int64_t k = 0; k < n; ++k)
      ASSERT_EQ(out[static_cast<size_t>(k * stride + r)], 127.0f * w[static_cast<size_t>(k)])
          << "row " << r << " k " << k;
  }
}

TEST_P(LinearTest, RowsOutsideTheRangeAndTheMatrixStayUntouched) {
  const auto group_rows = static_cast<size_t>(rows_per_group(GetParam().packing));
  const StoredMatrix stored(dtype(), static_cast<int64_t>(3 * group_rows + 2), cols(1), Bits::random, 5);
  const PackedMatrix packed = pack(stored);
  const std::vector<float> x = random_floats(static_cast<size_t>(2 * stored.cols()), 6);
  for (const Isa isa : available_isas(detect_cpu())) {
    const Activations activations(isa, format(), x, stored.cols());
    const size_t stride = 4 * group_rows;
    std::vector<float> out(2 * stride, -7.0f);
    const LinearArgs args = {packed.weight(), activations.data(), 2,
                             nullptr,         out.data(),         static_cast<int64_t>(stride),
                             Store::overwrite};
    const auto expect_written = [&](size_t begin, size_t end) {
      for (size_t i = 0; i < out.size(); ++i)
        EXPECT_EQ(out[i] != -7.0f, i % stride >= begin && i % stride < end)
            << to_string(isa) << " element " << i;
    };
    kernels_for(isa).linear.linear(args, 1, 2);
    expect_written(group_rows, 2 * group_rows);
    std::ranges::fill(out, -7.0f);
    kernels_for(isa).linear.linear(args, 3, 4);
    expect_written(3 * group_rows, 3 * group_rows + 2);
  }
}

// The number of tokens decides which tiles run: 1 to 17 and 33 reach all heights and their remainders, 65 to
// 71 those of two groups. -1: one token whose weights are fetched ahead.
TEST_P(LinearTest, EveryIsaAndTileGivesTheSameBits) {
  for (const int64_t rows : {1, 16, 23, 64}) {
    for (const int64_t blocks : {1, 2, 5}) {
      const StoredMatrix stored(dtype(), rows, cols(blocks), Bits::random,
                                static_cast<uint32_t>(rows + 100 * blocks));
      const PackedMatrix packed = pack(stored);
      const std::vector<float> bias = random_floats(static_cast<size_t>(rows), 7);
      const std::vector<float> x = random_floats(static_cast<size_t>(71 * stored.cols()), 8);
      const Activations activations(Isa::scalar, format(), x, stored.cols());
      LinearRun run = {.isa = Isa::scalar, .num_tokens = 71, .bias = bias.data()};
      const std::vector<float> expected = run(packed.weight(), activations.data());
      for (const Isa isa : vector_isas()) {
        for (const int64_t tokens :
             {1, -1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 33, 65, 67, 70, 71}) {
          run.isa = isa;
          run.num_tokens = std::abs(tokens);
          run.prefetch = {.level = tokens % 2 == 0 ? CacheLevel::l2 : CacheLevel::l1,
                          .weight_bytes = tokens < 0 ? 8192 : 0};
          run.groups_per_call = tokens % 3 == 0 ? 1 : 3;
          const std::vector<float> out = run(packed.weight(), activations.data());
          const std::vector<float> prefix(expected.begin(),
                                          expected.begin() + static_cast<int64_t>(out.size()));
          ASSERT_EQ(bits_of(out), bits_of(prefix))
              << to_string(isa) << " " << rows << "x" << stored.cols() << ", " << tokens << " tokens";
        }
      }
    }
  }
}

TEST_P(LinearTest, OddColumnsGiveTheSameBits) {
  if (!is_float(dtype())) GTEST_SKIP() << "has whole blocks of columns";
  for (const int64_t cols : {1, 3, 37}) {
    const StoredMatrix stored(dtype(), 23, cols, Bits::random, 14);
    const PackedMatrix packed = pack(stored);
    const std::vector<float> x = random_floats(static_cast<size_t>(13 * cols), 15);
    const Activations activations(Isa::scalar, format(), x, cols);
    LinearRun run = {.isa = Isa::scalar, .num_tokens = 13};
    const std::vector<float> expected = run(packed.weight(), activations.data());
    double sum = 0;
    for (int64_t k = 0; k < cols; ++k)
      sum += meant_by(format(), x.data(), cols)[static_cast<size_t>(k)] *
             static_cast<double>(stored.dequantised(0)[static_cast<size_t>(k)]);
    EXPECT_NEAR(expected[0], sum, 1e-5);
    for (const Isa isa : vector_isas()) {
      run.isa = isa;
      ASSERT_EQ(bits_of(run(packed.weight(), activations.data())), bits_of(expected))
          << to_string(isa) << ", " << cols << " columns";
    }
  }
}

// Whatever fills the last run and block, with all places of palettes in use and exponents beside them,
// unpacked for many tokens or by the tiles.
TEST_P(LinearTest, PaletteGivesTheBitsOfPlainPacking) {
  if (GetParam().packing != Packing::palette) GTEST_SKIP() << "has no palette";
  for (const int64_t cols : {1, 2, 3, 5, 8, 10, 13, 23, 64, 65, 160, 1001, 8194}) {
    const int64_t num_tokens = cols > 1000 ? 67 : 71;
    const StoredMatrix stored(DType::bf16, 71, cols, Bits::many_exponents, static_cast<uint32_t>(cols));
    const PackedMatrix plain(stored, GetParam().activations);
    const PackedMatrix packed = pack(stored);
    if (cols > 1000) {
      const auto* group = reinterpret_cast<const uint8_t*>(packed.weight().data);
      ASSERT_LT(PaletteException(group + palette_layout(cols).exceptions).k, cols) << "has no exception";
    }
    const std::vector<float> bias = random_floats(static_cast<size_t>(stored.rows()), 18);
    const std::vector<float> x = random_floats(static_cast<size_t>(num_tokens * cols), 19);
    const Activations activations(Isa::scalar, format(), x, cols);
    LinearRun run = {.num_tokens = num_tokens, .bias = bias.data(), .store = Store::add};
    const std::vector<float> expected = run(plain.weight(), activations.data());
    for (const Isa isa : available_isas(detect_cpu())) {
      if (isa == Isa::scalar && cols > 1000) continue;
      for (const int64_t tokens : {1, -1, 2, 3, 4, 6, 8, 9, 12, 13, 47, 48, 64, 66, 67, 71}) {
        if (tokens > num_tokens) continue;
        run.isa = isa;
        run.num_tokens = std::abs(tokens);
        run.prefetch = {.level = tokens % 2 == 0 ? CacheLevel::l2 : CacheLevel::l1,
                        .weight_bytes = tokens < 0 ? 8192 : 0};
        run.groups_per_call = tokens % 2 == 0 ? 1 : 3;
        const std::vector<float> out = run(packed.weight(), activations.data());
        const std::vector<float> prefix(expected.begin(),
                                        expected.begin() + static_cast<int64_t>(out.size()));
        ASSERT_EQ(bits_of(out), bits_of(prefix))
            << to_string(isa) << ", " << cols << " columns, " << tokens << " tokens";
      }
    }
  }
}

// Activations, products and sums below the normal numbers: what the bf16 dot product takes for zero must be
// zero everywhere.
TEST_P(LinearTest, SubnormalNumbersGiveTheSameBits) {
  const StoredMatrix stored(dtype(), 16, cols(2), Bits::random, 16);
  const PackedMatrix packed = pack(stored);
  std::vector<float> x = random_floats(static_cast<size_t>(9 * stored.cols()), 17);
  for (size_t i = 0; i < x.size(); ++i) x[i] *= i % 3 == 0 ? 1e-39f : 3e-38f;
  const Activations activations(Isa::scalar, format(), x, stored.cols());
  LinearRun run = {.isa = Isa::scalar, .num_tokens = 9};
  const std::vector<float> expected = run(packed.weight(), activations.data());
  for (const Isa isa : vector_isas()) {
    run.isa = isa;
    ASSERT_EQ(bits_of(run(packed.weight(), activations.data())), bits_of(expected)) << to_string(isa);
  }
}

// More rows and tokens than one cache block of any body holds.
TEST_P(LinearTest, LargeShapesGiveTheSameBits) {
  const StoredMatrix stored(dtype(), 331, cols(info(dtype()).block_len == 256 ? 6 : 28), Bits::random, 9);
  const PackedMatrix packed = pack(stored);
  const std::vector<float> x = random_floats(static_cast<size_t>(45 * stored.cols()), 10);
  const Activations activations(Isa::scalar, format(), x, stored.cols());
  const LinearRun scalar = {.num_tokens = 45, .store = Store::add, .initial = 0.25f};
  const std::vector<float> expected = scalar(packed.weight(), activations.data());
  for (const Isa isa : vector_isas()) {
    LinearRun run = scalar;
    run.isa = isa;
    ASSERT_EQ(bits_of(run(packed.weight(), activations.data())), bits_of(expected)) << to_string(isa);
  }
}

// All quants, scales and activations at their extremes: no integer step of any body may saturate or wrap.
TEST_P(LinearTest, ExtremeValuesGiveTheSameBits) {
  for (const Bits bits : {Bits::all_ones, Bits::all_zeros, Bits::minimum_bytes}) {
    const StoredMatrix stored(dtype(), 16, cols(2), bits, 11);
    const PackedMatrix packed = pack(stored);
    std::vector<float> x(static_cast<size_t>(9 * stored.cols()), 1.0f);
    for (size_t i = 0; i < x.size(); ++i) {
      const size_t token = i / static_cast<size_t>(stored.cols());
      if (token % 3 == 1 || (token % 3 == 2 && i % 2 == 1)) x[i] = -1.0f;
    }
    const Activations activations(Isa::scalar, format(), x, stored.cols());
    LinearRun run = {.isa = Isa::scalar, .num_tokens = 9};
    const std::vector<float> expected = run(packed.weight(), activations.data());
    for (const Isa isa : vector_isas()) {
      for (const int64_t tokens : {1, 2, 4, 9}) {
        run.isa = isa;
        run.num_tokens = tokens;
        const std::vector<float> out = run(packed.weight(), activations.data());
        const std::vector<float> prefix(expected.begin(),
                                        expected.begin() + static_cast<int64_t>(out.size()));
        ASSERT_EQ(bits_of(out), bits_of(prefix)) << to_string(isa) << ", " << tokens << " tokens";
      }
    }
  }
}

TEST_P(LinearTest, NullRowsArePackedAsZeros) {
  const StoredMatrix stored(dtype(), 1, cols(1), Bits::random, 12);
  const int64_t num_rows = rows_per_group(GetParam().packing);
  std::vector<const std::byte*> rows(static_cast<size_t>(num_rows));
  rows[9] = stored.row(0);
  const PackedWeight empty = {dtype(),           num_rows, stored.cols(), nullptr, GetParam().activations,
                              GetParam().packing};
  const size_t group_bytes = empty.group_bytes();
  EXPECT_EQ(group_bytes % 64, 0u);
  const ExactBuffer buffer(group_bytes);
  const ExactBuffer details(empty.details_bytes());
  ASSERT_TRUE(pack_group(kernels_for(Isa::scalar).linear, dtype(), GetParam().packing, rows, stored.cols(),
                         buffer.data(), details.data()));
  const std::vector<float> x = random_floats(static_cast<size_t>(stored.cols()), 13);
  const Activations activations(Isa::scalar, format(), x, stored.cols());
  const std::vector<float> out = LinearRun{}({dtype(), num_rows, stored.cols(), buffer.data(),
                                              GetParam().activations, GetParam().packing, details.data()},
                                             activations.data());
  for (size_t r = 0; r < rows.size(); ++r) EXPECT_EQ(out[r] == 0.0f, r != 9) << "row " << r;
}

}  // namespace
}  // namespace pagoda
