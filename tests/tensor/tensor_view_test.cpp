#include "tensor/tensor_view.h"

#include <array>
#include <set>

#include <gtest/gtest.h>

namespace pagoda {
namespace {

constexpr DType kAllTypes[] = {DType::f32,  DType::f16,  DType::bf16, DType::q4_0,  DType::q4_1,
                               DType::q5_0, DType::q5_1, DType::q8_0, DType::q2_k,  DType::q3_k,
                               DType::q4_k, DType::q5_k, DType::q6_k, DType::iq4_nl};

TEST(DType, IdsNamesAndTypesBelongTogether) {
  std::set<std::string_view> names;
  for (const DType dtype : kAllTypes) {
    EXPECT_EQ(dtype_from_ggml_id(info(dtype).ggml_id), dtype);
    EXPECT_TRUE(names.insert(to_string(dtype)).second) << to_string(dtype);
  }
  for (const uint32_t unknown : {4u, 5u, 9u, 15u, 16u, 31u, 39u, 0xffffffffu})
    EXPECT_EQ(dtype_from_ggml_id(unknown), std::nullopt) << unknown;
}

// Sizes as the format's documents give them: bits per weight times elements.
TEST(DType, BlockSizes) {
  EXPECT_EQ(row_bytes(DType::f32, 3), 12u);
  EXPECT_EQ(row_bytes(DType::bf16, 3), 6u);
  EXPECT_EQ(row_bytes(DType::q4_0, 64), 36u);    // 4.5 bits
  EXPECT_EQ(row_bytes(DType::q4_1, 64), 40u);    // 5
  EXPECT_EQ(row_bytes(DType::q5_0, 64), 44u);    // 5.5
  EXPECT_EQ(row_bytes(DType::q5_1, 64), 48u);    // 6
  EXPECT_EQ(row_bytes(DType::q8_0, 64), 68u);    // 8.5
  EXPECT_EQ(row_bytes(DType::iq4_nl, 64), 36u);  // 4.5
  EXPECT_EQ(row_bytes(DType::q2_k, 512), 168u);  // 2.625
  EXPECT_EQ(row_bytes(DType::q3_k, 512), 220u);  // 3.4375
  EXPECT_EQ(row_bytes(DType::q4_k, 512), 288u);  // 4.5
  EXPECT_EQ(row_bytes(DType::q5_k, 512), 352u);  // 5.5
  EXPECT_EQ(row_bytes(DType::q6_k, 512), 420u);  // 6.5625
  EXPECT_DEATH(row_bytes(DType::q4_0, 33), "33 elements of q4_0");
}

TEST(Shape, CountsAndPrints) {
  EXPECT_EQ((Shape{2, {3, 5}}).num_elements(), 15);
  EXPECT_EQ(Shape{}.num_elements(), 1);
  EXPECT_EQ((Shape{3, {2, 3, 4}}).to_string(), "[2, 3, 4]");
  EXPECT_EQ(Shape{}.to_string(), "[]");
  EXPECT_NE((Shape{2, {3, 5}}), (Shape{2, {5, 3}}));
}

TEST(TensorView, RowsFollowEachOther) {
  std::array<std::byte, 2 * 3 * 68> data{};
  const TensorView view{DType::q8_0, {3, {2, 3, 64}}, data};
  EXPECT_EQ(view.num_rows(), 6);
  EXPECT_EQ(view.num_cols(), 64);
  for (int64_t row = 0; row < 6; ++row) {
    EXPECT_EQ(view.row(row).data(), data.data() + row * 68);
    EXPECT_EQ(view.row(row).size(), 68u);
  }
  EXPECT_DEATH(view.row(6), "row 6 of 6");
  EXPECT_DEATH(view.row(-1), "row -1 of 6");
}

TEST(TensorView, AScalarIsOneRowOfOne) {
  std::array<std::byte, 4> data{};
  const TensorView view{DType::f32, {}, data};
  EXPECT_EQ(view.num_rows(), 1);
  EXPECT_EQ(view.row(0).size(), 4u);
}

}  // namespace
}  // namespace pagoda
