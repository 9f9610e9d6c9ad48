// Outlines and details: the same bytes from every ISA, nothing lost, and outputs of outlines no farther from
// the exact ones than their errors say.
#include <cmath>

#include <gtest/gtest.h>

#include "kernels/isa/linear_layout.h"
#include "kernels/linear_fixture.h"

namespace pagoda {
namespace {

class OutlineTest : public testing::TestWithParam<std::tuple<DType, Bits>> {
 protected:
  DType dtype() const { return std::get<0>(GetParam()); }
  Bits bits() const { return std::get<1>(GetParam()); }
  int64_t block() const { return static_cast<int64_t>(info(dtype()).block_len); }
  ActivationFormat format() const { return PackedWeight{.dtype = dtype()}.activation_format(); }
};
INSTANTIATE_TEST_SUITE_P(Formats, OutlineTest,
                         testing::Combine(testing::Values(DType::q8_0, DType::q6_k),
                                          testing::Values(Bits::random, Bits::power_of_two, Bits::all_ones,
                                                          Bits::all_zeros, Bits::minimum_bytes)),
                         [](const auto& tested) {
                           return std::string(to_string(std::get<0>(tested.param))) + "_" +
                                  std::to_string(static_cast<int>(std::get<1>(tested.param)));
                         });

std::vector<std::byte> bytes_of(const ExactBuffer& buffer, size_t size) {
  return {buffer.data(), buffer.data() + size};
}

TEST_P(OutlineTest, EveryIsaPacksTheSameBytesAndJoinsThemToPlainOnes) {
  for (const int64_t blocks : {1, 2, 3, 9}) {
    const int64_t cols = blocks * block();
    const StoredMatrix stored(dtype(), 16, cols, bits(), static_cast<uint32_t>(blocks));
    const size_t outline_bytes = packed_group_bytes(dtype(), Packing::outline, cols);
    const size_t details_bytes = packed_details_bytes(dtype(), Packing::outline, cols);
    const size_t plain_bytes = packed_group_bytes(dtype(), Packing::plain, cols);
    EXPECT_EQ(outline_bytes + details_bytes, plain_bytes + 64) << "the errors are all that is added";
    std::vector<const std::byte*> rows(16);
    for (int64_t r = 0; r < 16; ++r) rows[static_cast<size_t>(r)] = stored.row(r);
    for (const bool has_null_rows : {false, true}) {
      if (has_null_rows) rows[3] = rows[15] = nullptr;
      const ExactBuffer plain(plain_bytes);
      const LinearKernels& scalar = kernels_for(Isa::scalar).linear;
      ASSERT_TRUE(pack_group(scalar, dtype(), Packing::plain, rows, cols, plain.data()));
      const ExactBuffer outline(outline_bytes);
      const ExactBuffer details(details_bytes);
      ASSERT_TRUE(pack_group(scalar, dtype(), Packing::outline, rows, cols, outline.data(), details.data()));
      for (const Isa isa : available_isas(detect_cpu())) {
        const LinearKernels& kernels = kernels_for(isa).linear;
        const ExactBuffer other_outline(outline_bytes);
        const ExactBuffer other_details(details_bytes);
        ASSERT_TRUE(pack_group(kernels, dtype(), Packing::outline, rows, cols, other_outline.data(),
                               other_details.data()));
        EXPECT_EQ(bytes_of(other_outline, outline_bytes), bytes_of(outline, outline_bytes)) << to_string(isa);
        EXPECT_EQ(bytes_of(other_details, details_bytes), bytes_of(details, details_bytes)) << to_string(isa);
        const size_t joined_bytes =
            static_cast<size_t>(blocks) * static_cast<size_t>(block_layout(packed_format(dtype())).bytes);
        const ExactBuffer joined(joined_bytes);
        kernels.join_outline(dtype(), outline.data(), details.data(), blocks, joined.data());
        EXPECT_EQ(bytes_of(joined, joined_bytes), bytes_of(plain, joined_bytes)) << to_string(isa);
      }
    }
  }
}

// [num_tokens][rows], from the outlines alone.
std::vector<float> outline_outputs(Isa isa, const PackedWeight& weight, const std::byte* activations,
                                   int64_t num_tokens, int64_t prefetched_bytes = 0) {
  std::vector<float> out(static_cast<size_t>(num_tokens * weight.num_rows), -1.0f);
  const LinearArgs args = {.weight = weight,
                           .activations = activations,
                           .num_tokens = num_tokens,
                           .out = out.data(),
                           .out_stride = weight.num_rows,
                           .prefetch = {.weight_bytes = prefetched_bytes}};
  kernels_for(isa).linear.outline(args, 0, weight.num_groups());
  return out;
}

float error_of(const PackedWeight& weight, int64_t row) {
  float error = 0;
  const std::byte* end = weight.data + static_cast<size_t>(row / 16 + 1) * weight.group_bytes();
  std::memcpy(&error, end - 64 + row % 16 * 4, sizeof error);
  return error;
}

double length_of(const std::vector<float>& x) {
  double squares = 0;
  for (const float value : x) squares += double{value} * value;
  return std::sqrt(squares);
}

TEST_P(OutlineTest, EveryIsaGivesTheSameOutputs) {
  const StoredMatrix stored(dtype(), 39, 3 * block(), bits(), 1);
  const PackedMatrix packed(stored, FloatActivations::f32, Packing::outline);
  const std::vector<float> x = random_floats(static_cast<size_t>(17 * stored.cols()), 2);
  const Activations activations(Isa::scalar, format(), x, stored.cols());
  for (const Isa isa : vector_isas())
    for (const int64_t tokens : {1, 2, 3, 4, 5, 6, 8, 17})
      EXPECT_EQ(bits_of(outline_outputs(isa, packed.weight(), activations.data(), tokens, 8192)),
                bits_of(outline_outputs(Isa::scalar, packed.weight(), activations.data(), tokens)))
          << to_string(isa) << ", " << tokens << " tokens";
}

// The activations that are worst: each of the sign of what the outline leaves out, as large as that.
TEST_P(OutlineTest, OutputsAreAsCloseAsTheErrorsSay) {
  const StoredMatrix stored(dtype(), 16, 4 * block(), bits(), 3);
  const PackedMatrix packed(stored, FloatActivations::f32, Packing::outline);
  const int64_t n = stored.cols();
  // With a single activation of 127 an output is 127 times what the outline has for a weight.
  std::vector<float> one_hot(static_cast<size_t>(n * n));
  for (int64_t k = 0; k < n; ++k) one_hot[static_cast<size_t>(k * n + k)] = 127.0f;
  const std::vector<float> meant =
      outline_outputs(Isa::scalar, packed.weight(), Activations(Isa::scalar, format(), one_hot, n).data(), n);
  for (int64_t row = 0; row < 16; ++row) {
    const std::vector<float> weights = stored.dequantised(row);
    std::vector<float> left_out(weights.size());
    for (size_t k = 0; k < weights.size(); ++k)
      left_out[k] = weights[k] - meant[k * 16 + static_cast<size_t>(row)] / 127.0f;
    const float error = error_of(packed.weight(), row);
    EXPECT_NEAR(error, length_of(left_out), 1e-3 * length_of(left_out) + 1e-4 * length_of(weights));
    const Activations activations(Isa::scalar, format(), left_out, n);
    const std::vector<float> exact = LinearRun{}(packed.weight(), activations.data());
    const std::vector<float> outline = outline_outputs(Isa::scalar, packed.weight(), activations.data(), 1);
    const float length = activation_length(format(), activations.data(), n);
    EXPECT_NEAR(length, length_of(left_out), 0.02 * length_of(left_out));
    for (int64_t other = 0; other < 16; ++other) {
      const double difference =
          std::fabs(double{exact[static_cast<size_t>(other)]} - double{outline[static_cast<size_t>(other)]});
      EXPECT_LE(difference, double{error_of(packed.weight(), other)} * length) << row << " " << other;
      if (other == row && error > 0) {
        EXPECT_GE(difference, 0.98 * error * length) << row;
      }
    }
  }
}

TEST_P(OutlineTest, RandomActivationsStayWithinTheErrors) {
  const StoredMatrix stored(dtype(), 64, 6 * block(), bits(), 5);
  const PackedMatrix packed(stored, FloatActivations::f32, Packing::outline);
  const int64_t tokens = 50;
  const std::vector<float> x = random_floats(static_cast<size_t>(tokens * stored.cols()), 6);
  const Activations activations(Isa::scalar, format(), x, stored.cols());
  const std::vector<float> outline =
      outline_outputs(Isa::scalar, packed.weight(), activations.data(), tokens);
  const std::vector<float> exact = LinearRun{.num_tokens = tokens}(packed.weight(), activations.data());
  const size_t stride = exact.size() / static_cast<size_t>(tokens);
  const size_t row_bytes = activation_row_bytes(format(), stored.cols());
  for (size_t t = 0; t < static_cast<size_t>(tokens); ++t) {
    const float length = activation_length(format(), activations.data() + t * row_bytes, stored.cols());
    for (size_t r = 0; r < 64; ++r)
      ASSERT_LE(std::fabs(double{exact[t * stride + r]} - double{outline[t * 64 + r]}),
                double{error_of(packed.weight(), static_cast<int64_t>(r))} * length);
  }
}

TEST(Outline, IsForTwoFormatsOfOrdinaryWidth) {
  for (const DType dtype : kAllDTypes)
    EXPECT_EQ(has_outline(dtype, 2048), dtype == DType::q8_0 || dtype == DType::q6_k) << to_string(dtype);
  EXPECT_TRUE(has_outline(DType::q8_0, 8192));
  EXPECT_FALSE(has_outline(DType::q8_0, 8224));
}

TEST(Outline, BoundsOfGroups) {
  constexpr size_t kStride = 192;
  for (const Isa isa : available_isas(detect_cpu())) {
    for (const int64_t n : {1, 15, 16, 17, 64, 71}) {
      const std::vector<float> x = random_floats(static_cast<size_t>(n), 7);
      const auto num_groups = static_cast<size_t>(n + 15) / 16;
      const std::vector<float> errors = random_floats(num_groups * kStride / sizeof(float), 8);
      std::vector<float> greatest(num_groups + 1, -5.0f);
      std::vector<float> bounds = greatest;
      kernels_for(isa).ops.bound_groups(x.data(), n, std::as_bytes(std::span(errors)).data(), kStride, 1.5f,
                                        greatest.data(), bounds.data());
      std::vector<float> expected_greatest(num_groups + 1, -INFINITY);
      expected_greatest.back() = -5.0f;
      std::vector<float> expected = expected_greatest;
      for (size_t i = 0; i < x.size(); ++i) {
        expected_greatest[i / 16] = std::max(expected_greatest[i / 16], x[i]);
        expected[i / 16] =
            std::max(expected[i / 16], std::fma(errors[i / 16 * kStride / 4 + i % 16], 1.5f, x[i]));
      }
      EXPECT_EQ(bits_of(greatest), bits_of(expected_greatest)) << to_string(isa) << ", " << n;
      EXPECT_EQ(bits_of(bounds), bits_of(expected)) << to_string(isa) << ", " << n;
    }
  }
}

TEST(Outline, BoundsForgetWhatIsNoNumber) {
  for (const Isa isa : available_isas(detect_cpu())) {
    std::vector<float> x(32, 2.0f);
    x[5] = x[20] = NAN;
    x[21] = INFINITY;
    const std::vector<float> errors(32);
    float greatest[2];
    float bounds[2];
    kernels_for(isa).ops.bound_groups(x.data(), 32, std::as_bytes(std::span(errors)).data(), 64, 1.0f,
                                      greatest, bounds);
    EXPECT_EQ(bounds[0], 2.0f) << to_string(isa);
    EXPECT_EQ(bounds[1], INFINITY) << to_string(isa);
    EXPECT_EQ(greatest[0], 2.0f) << to_string(isa);
    EXPECT_EQ(greatest[1], INFINITY) << to_string(isa);
  }
}

}  // namespace
}  // namespace pagoda
