#include "weights/weight_plan.h"

#include <bit>
#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/kernels.h"
#include "tensor/dequantize.h"
#include "tensor/half.h"
#include "weights/unpack_row.h"
#include "weights/weight_store.h"

namespace pagoda {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Tensors in memory.
class TensorsInMemory final : public ModelFile {
 public:
  TensorsInMemory() { path_ = "memory"; }
  Result<std::string> read_side_file(std::string_view name) const override {
    return fail(ErrorCode::not_found, "no file '{}'", name);
  }
  void add(const std::string& name, DType dtype, Shape shape, std::vector<std::byte> bytes) {
    storage_.push_back(std::make_unique<std::vector<std::byte>>(std::move(bytes)));
    tensors_.push_back({name, {dtype, shape, *storage_.back()}, 0, 0});
    by_name_[name] = tensors_.size() - 1;
  }
  // Values 0, 1, 2, …
  void add_counting(const std::string& name, Shape shape) {
    std::vector<float> values(static_cast<size_t>(shape.num_elements()));
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
    const auto bytes = std::as_bytes(std::span(values));
    add(name, DType::f32, shape, {bytes.begin(), bytes.end()});
  }

 private:
  std::vector<std::unique_ptr<std::vector<std::byte>>> storage_;
};

// Random rows of a format; scales are ordinary numbers.
std::vector<std::byte> random_rows(DType dtype, size_t num_rows, size_t num_cols, uint64_t seed) {
  std::vector<std::byte> bytes(num_rows * row_bytes(dtype, num_cols));
  uint64_t state = seed;
  for (std::byte& byte : bytes) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    byte = static_cast<std::byte>(state >> 56);
  }
  if (is_float(dtype)) {
    // Keeps exponents small: top bit of the exponent off.
    const size_t size = info(dtype).block_bytes;
    for (size_t i = size - 1; i < bytes.size(); i += size) bytes[i] &= std::byte{0xbf};
    return bytes;
  }
  // Every f16 scale of a block: clear the top exponent bit in all places where one can lie.
  const size_t block = info(dtype).block_bytes;
  for (size_t begin = 0; begin < bytes.size(); begin += block)
    for (const size_t at : {size_t{1}, size_t{3}, size_t{81}, size_t{83}, size_t{109}, size_t{209}})
      if (at < block) bytes[begin + at] &= std::byte{0xbf};
  return bytes;
}

std::vector<float> stored_row(DType dtype, std::span<const std::byte> rows, size_t row, size_t num_cols) {
  std::vector<float> values(num_cols);
  const size_t bytes = row_bytes(dtype, num_cols);
  dequantize_row(dtype, rows.subspan(row * bytes, bytes), values);
  return values;
}

std::vector<float> packed_row(const PackedWeight& weight, int64_t row) {
  std::vector<float> values(static_cast<size_t>(weight.num_cols));
  unpack_row(weight, row, values);
  return values;
}

void expect_same_bits(std::span<const float> got, std::span<const float> want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_EQ(std::bit_cast<uint32_t>(got[i]), std::bit_cast<uint32_t>(want[i])) << "element " << i;
}

constexpr DType kAllTypes[] = {DType::f32,  DType::f16,  DType::bf16, DType::q4_0,  DType::q4_1,
                               DType::q5_0, DType::q5_1, DType::q8_0, DType::q2_k,  DType::q3_k,
                               DType::q4_k, DType::q5_k, DType::q6_k, DType::iq4_nl};

class EveryType : public ::testing::TestWithParam<DType> {};

TEST_P(EveryType, PackedRowsMeanWhatStoredRowsMean) {
  constexpr size_t kRows = 37;
  constexpr size_t kCols = 512;
  const DType dtype = GetParam();
  TensorsInMemory file;
  const std::vector<std::byte> bytes = random_rows(dtype, kRows, kCols, 3);
  file.add("w", dtype, {2, {kRows, kCols}}, bytes);
  WeightPlan plan(file);
  LinearWeight linear;
  RowTable table;
  ASSERT_TRUE(plan.add_linear({.weight = "w", .num_rows = kRows, .num_cols = kCols}, linear));
  ASSERT_TRUE(plan.add_rows("w", kRows, kCols, table));
  EXPECT_EQ(plan.num_parameters(), static_cast<int64_t>(kRows * kCols));
  ThreadPool pool(2);
  const auto memory = plan.load(kernels_for(available_isas(detect_cpu()).back()).linear, pool, {});
  ASSERT_TRUE(memory.has_value());
  EXPECT_EQ(memory->size(), plan.num_bytes());
  const RowTable tied = {dtype, kRows, kCols, nullptr, nullptr, linear.matrix};
  for (size_t row = 0; row < kRows; ++row) {
    const std::vector<float> want = stored_row(dtype, bytes, row, kCols);
    expect_same_bits(packed_row(linear.matrix, static_cast<int64_t>(row)), want);
    std::vector<float> got(kCols);
    for (const RowTable& rows : {table, tied}) {
      rows.read_row(static_cast<int64_t>(row), got);
      expect_same_bits(got, want);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, EveryType, ::testing::ValuesIn(kAllTypes),
                         [](const auto& tested) { return std::string(to_string(tested.param)); });

class WeightPlanTest : public ::testing::Test {
 protected:
  void load() {
    auto memory = plan_.load(kernels_for(Isa::scalar).linear, pool_, {});
    ASSERT_TRUE(memory.has_value());
    memory_ = std::move(*memory);
  }
  TensorsInMemory file_;
  WeightPlan plan_{file_};
  ThreadPool pool_{2};
  AlignedBuffer memory_;
};

// bf16 of 16 exponents, as many as a palette has.
std::vector<std::byte> rows_of_few_exponents(size_t num_rows, size_t num_cols, uint64_t seed) {
  std::vector<std::byte> bytes = random_rows(DType::bf16, num_rows, num_cols, seed);
  for (size_t i = 1; i < bytes.size(); i += 2) bytes[i] &= std::byte{0x87};
  return bytes;
}

// One row of many exponents, in the last group, makes a matrix plain; others keep their palettes.
TEST_F(WeightPlanTest, MatricesOfTooManyExponentsArePackedPlainly) {
  constexpr size_t kRows = 600;
  constexpr size_t kCols = 1500;
  std::vector<std::vector<std::byte>> stored;
  std::array<LinearWeight, 3> linears;
  for (size_t i = 0; i < linears.size(); ++i) {
    stored.push_back(rows_of_few_exponents(kRows, kCols, i + 1));
    if (i == 1) std::ranges::copy(random_rows(DType::bf16, 1, kCols, 9), stored[i].end() - kCols * 2);
    file_.add(std::string(1, static_cast<char>('a' + i)), DType::bf16, {2, {kRows, kCols}}, stored[i]);
  }
  for (size_t i = 0; i < linears.size(); ++i)
    ASSERT_TRUE(plan_.add_linear(
        {.weight = std::string(1, static_cast<char>('a' + i)), .num_rows = kRows, .num_cols = kCols},
        linears[i]));
  const auto bytes_of = [](Packing packing) {
    const auto rows = static_cast<size_t>(rows_per_group(packing));
    return (kRows + rows - 1) / rows * packed_group_bytes(DType::bf16, packing, kCols);
  };
  const size_t palette_bytes = bytes_of(Packing::palette);
  const size_t plain_bytes = bytes_of(Packing::plain);
  const auto refused =
      plan_.load(kernels_for(Isa::scalar).linear, pool_, {}, {}, 2 * palette_bytes + plain_bytes - 1);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::out_of_memory);
  load();
  EXPECT_EQ(memory_.size(), 2 * palette_bytes + plain_bytes);
  EXPECT_EQ(plan_.num_bytes(), memory_.size());
  for (size_t i = 0; i < linears.size(); ++i) {
    EXPECT_EQ(linears[i].matrix.packing, i == 1 ? Packing::plain : Packing::palette) << i;
    for (const size_t row : {size_t{0}, size_t{17}, kRows - 1})
      expect_same_bits(packed_row(linears[i].matrix, static_cast<int64_t>(row)),
                       stored_row(DType::bf16, stored[i], row, kCols));
  }
}

TEST_F(WeightPlanTest, PartOfAFusedTensor) {
  file_.add_counting("qkv.weight", {2, {12, 2}});
  file_.add_counting("qkv.bias", {1, {12}});
  LinearWeight part;
  ASSERT_TRUE(plan_.add_linear({.weight = "qkv.weight",
                                .bias = "qkv.bias",
                                .num_rows = 3,
                                .num_cols = 2,
                                .rows = {.first_row = 5, .num_stored_rows = 12}},
                               part));
  load();
  EXPECT_THAT(packed_row(part.matrix, 0), ElementsAre(10, 11));
  EXPECT_THAT(packed_row(part.matrix, 2), ElementsAre(14, 15));
  EXPECT_THAT(std::vector<float>(part.bias, part.bias + 3), ElementsAre(5, 6, 7));
}

TEST_F(WeightPlanTest, RotaryPairsBecomeHalves) {
  file_.add_counting("q.weight", {2, {12, 1}});
  file_.add_counting("q.bias", {1, {12}});
  LinearWeight q;
  // Two heads of 6, of which 4 rows are pairs: stored (0, 2), (1, 3) of each head.
  ASSERT_TRUE(plan_.add_linear({.weight = "q.weight",
                                .bias = "q.bias",
                                .num_rows = 12,
                                .num_cols = 1,
                                .rows = {.head_dim = 6, .rotary_dim = 4}},
                               q));
  load();
  const std::vector<float> want = {0, 2, 1, 3, 4, 5, 6, 8, 7, 9, 10, 11};
  for (size_t row = 0; row < want.size(); ++row) {
    EXPECT_EQ(packed_row(q.matrix, static_cast<int64_t>(row))[0], want[row]) << row;
    EXPECT_EQ(q.bias[row], want[row]) << row;
  }
}

TEST_F(WeightPlanTest, StoredByColumns) {
  file_.add_counting("w", {2, {3, 40}});
  LinearWeight part;
  ASSERT_TRUE(plan_.add_linear({.weight = "w",
                                .num_rows = 20,
                                .num_cols = 3,
                                .rows = {.first_row = 10, .num_stored_rows = 40},
                                .storage = MatrixStorage::columns},
                               part));
  load();
  EXPECT_THAT(packed_row(part.matrix, 0), ElementsAre(10, 50, 90));
  EXPECT_THAT(packed_row(part.matrix, 19), ElementsAre(29, 69, 109));
}

TEST_F(WeightPlanTest, VectorsInAnyFloatTypeWithAnOffset) {
  const std::vector<uint16_t> halves = {f32_to_f16(0.5f), f32_to_f16(-2.0f)};
  const auto bytes = std::as_bytes(std::span(halves));
  file_.add("norm", DType::f16, {2, {1, 2}}, {bytes.begin(), bytes.end()});
  const float* norm = nullptr;
  ASSERT_TRUE(plan_.add_vector({"norm", 2, {}, 1.0f}, norm));
  load();
  EXPECT_THAT(std::vector<float>(norm, norm + 2), ElementsAre(1.5f, -1.0f));
}

TEST_F(WeightPlanTest, NamesWhatIsMissingOrMisshapen) {
  file_.add_counting("w", {2, {8, 4}});
  LinearWeight linear;
  const float* vector = nullptr;
  RowTable table;
  const Status missing = plan_.add_linear({.weight = "v", .num_rows = 8, .num_cols = 4}, linear);
  const Status turned = plan_.add_linear({.weight = "w", .num_rows = 4, .num_cols = 8}, linear);
  const Status no_vector = plan_.add_vector({"w", 32, {}, 0.0f}, vector);
  const Status fewer_rows = plan_.add_rows("w", 7, 4, table);
  for (const Status* status : {&missing, &turned, &no_vector, &fewer_rows}) {
    ASSERT_FALSE(status->has_value());
    EXPECT_EQ(status->error().code, ErrorCode::corrupt);
  }
  EXPECT_THAT(missing.error().message, HasSubstr("'v' is missing"));
  EXPECT_THAT(turned.error().message, HasSubstr("'w' has the shape [8, 4]"));
}

TEST_F(WeightPlanTest, QuantisedColumnsAreRefused) {
  file_.add("w", DType::q8_0, {2, {32, 64}}, random_rows(DType::q8_0, 32, 64, 1));
  LinearWeight linear;
  const Status status = plan_.add_linear(
      {.weight = "w", .num_rows = 64, .num_cols = 32, .storage = MatrixStorage::columns}, linear);
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().code, ErrorCode::unsupported);
}

TEST_F(WeightPlanTest, KnowsWhatNobodyAskedFor) {
  file_.add_counting("used", {1, {4}});
  file_.add_counting("left", {1, {4}});
  const float* vector = nullptr;
  ASSERT_TRUE(plan_.add_vector({"used", 4, {}, 0.0f}, vector));
  EXPECT_THAT(plan_.unused_tensors(), ElementsAre("left"));
}

TEST(ResidentWeights, LeasesGiveTheLayerAsked) {
  std::vector<DecoderLayerWeights> layers(3);
  layers[1].ffn.up_proj.matrix.num_rows = 11;
  ResidentWeights store({}, {}, std::move(layers));
  EXPECT_EQ(store.num_layers(), 3);
  store.prefetch(7);
  const WeightStore::Lease lease = store.acquire(1);
  EXPECT_EQ(lease->ffn.up_proj.matrix.num_rows, 11);
}

}  // namespace
}  // namespace pagoda
