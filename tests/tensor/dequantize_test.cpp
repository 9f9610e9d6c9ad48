#include "tensor/dequantize.h"

#include <bit>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tensor/half.h"

namespace pagoda {
namespace {

constexpr DType kQuantized[] = {DType::q4_0, DType::q4_1, DType::q5_0, DType::q5_1, DType::q8_0,  DType::q2_k,
                                DType::q3_k, DType::q4_k, DType::q5_k, DType::q6_k, DType::iq4_nl};

// A block under construction.
class Block {
 public:
  explicit Block(DType dtype) : dtype_(dtype), bytes_(info(dtype).block_bytes) {}
  void set(size_t at, int value) { bytes_.at(at) = static_cast<std::byte>(value); }
  void set_f16(size_t at, float value) {
    const uint16_t half = f32_to_f16(value);
    set(at, half & 0xff);
    set(at + 1, half >> 8);
  }
  std::vector<float> values() const {
    std::vector<float> out(info(dtype_).block_len);
    dequantize_row(dtype_, bytes_, out);
    return out;
  }

 private:
  DType dtype_;
  std::vector<std::byte> bytes_;
};

TEST(Dequantize, Q4_0) {
  Block block(DType::q4_0);
  block.set_f16(0, 0.5f);
  block.set(2, 0xf0);       // element 0: 0, element 16: 15
  block.set(2 + 15, 0x29);  // element 15: 9, element 31: 2
  const auto values = block.values();
  EXPECT_EQ(values[0], 0.5f * (0 - 8));
  EXPECT_EQ(values[16], 0.5f * (15 - 8));
  EXPECT_EQ(values[15], 0.5f * (9 - 8));
  EXPECT_EQ(values[31], 0.5f * (2 - 8));
  EXPECT_EQ(values[1], 0.5f * -8);
}

TEST(Dequantize, Q4_1) {
  Block block(DType::q4_1);
  block.set_f16(0, 0.5f);
  block.set_f16(2, -3.0f);
  block.set(4 + 7, 0xc5);
  const auto values = block.values();
  EXPECT_EQ(values[7], 0.5f * 5 - 3);
  EXPECT_EQ(values[23], 0.5f * 12 - 3);
  EXPECT_EQ(values[0], -3.0f);
}

TEST(Dequantize, Q5_0) {
  Block block(DType::q5_0);
  block.set_f16(0, 2.0f);
  block.set(2 + 0, 0x08);  // high bit of element 3
  block.set(2 + 3, 0x80);  // and of element 31
  block.set(6 + 3, 0x21);
  block.set(6 + 15, 0x70);
  const auto values = block.values();
  EXPECT_EQ(values[3], 2.0f * (16 + 1 - 16));
  EXPECT_EQ(values[19], 2.0f * (2 - 16));
  EXPECT_EQ(values[31], 2.0f * (16 + 7 - 16));
  EXPECT_EQ(values[15], 2.0f * -16);
}

TEST(Dequantize, Q5_1) {
  Block block(DType::q5_1);
  block.set_f16(0, 2.0f);
  block.set_f16(2, 1.5f);
  block.set(4 + 2, 0x01);  // high bit of element 16
  block.set(8 + 0, 0x4b);
  const auto values = block.values();
  EXPECT_EQ(values[0], 2.0f * 11 + 1.5f);
  EXPECT_EQ(values[16], 2.0f * (16 + 4) + 1.5f);
}

TEST(Dequantize, Q8_0) {
  Block block(DType::q8_0);
  block.set_f16(0, -0.25f);
  block.set(2, -128);
  block.set(2 + 31, 127);
  const auto values = block.values();
  EXPECT_EQ(values[0], 32.0f);
  EXPECT_EQ(values[31], -0.25f * 127);
}

TEST(Dequantize, Iq4Nl) {
  Block block(DType::iq4_nl);
  block.set_f16(0, 1.0f);
  constexpr int kTable[] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
  for (int i = 0; i < 16; ++i) block.set(static_cast<size_t>(2 + i), i | (15 - i) << 4);
  const auto values = block.values();
  for (size_t i = 0; i < 16; ++i) {
    EXPECT_EQ(values[i], static_cast<float>(kTable[i]));
    EXPECT_EQ(values[i + 16], static_cast<float>(kTable[15 - i]));
  }
}

TEST(Dequantize, Q2K) {
  Block block(DType::q2_k);
  block.set(0, 0x35);             // elements 0..15: scale 5, min 3
  block.set(15, 0x12);            // elements 240..255: scale 2, min 1
  block.set(16 + 4, 0x03);        // element 4: 3
  block.set(16 + 32 + 31, 0x80);  // element 255: 2, in the top bits of the last byte
  block.set_f16(80, 0.5f);
  block.set_f16(82, 0.25f);
  const auto values = block.values();
  EXPECT_EQ(values[4], 0.5f * 5 * 3 - 0.25f * 3);
  EXPECT_EQ(values[0], -0.25f * 3);
  EXPECT_EQ(values[255], 0.5f * 2 * 2 - 0.25f * 1);
  EXPECT_EQ(values[100], 0.0f);
}

TEST(Dequantize, Q3K) {
  Block block(DType::q3_k);
  for (size_t i = 0; i < 12; ++i) block.set(96 + i, 0);
  block.set(96 + 0, 0x20);  // low bits: scale 0 gets 0, scale 8 gets 2
  block.set(96 + 8, 0x12);  // high bits: scale 0 gets 2, scale 8 gets 1
  block.set(1, 0x01);       // hmask: element 1 keeps its value, others lose 4
  block.set(32 + 1, 0x02);  // element 1: 2
  block.set_f16(108, 0.5f);
  const auto values = block.values();
  EXPECT_EQ(values[1], 0.5f * (32 - 32) * 2);
  EXPECT_EQ(values[0], 0.5f * (32 - 32) * -4);
  EXPECT_EQ(values[128], 0.5f * (18 - 32) * -4);  // scale 8 = 2 | 1 << 4
  EXPECT_EQ(values[16], 0.5f * (0 - 32) * -4);
}

TEST(Dequantize, Q4K) {
  Block block(DType::q4_k);
  block.set_f16(0, 0.5f);
  block.set_f16(2, 0.25f);
  block.set(4 + 0, 0xc7);        // scale 0 = 7; its top bits are the high bits of scale 4
  block.set(4 + 4, 0x49);        // min 0 = 9; its top bits are the high bits of min 4
  block.set(4 + 8, 0x35);        // scale 4 = 5 | 3 << 4, min 4 = 3 | 1 << 4
  block.set(16, 0x0b);           // element 0: 11
  block.set(16 + 64 + 2, 0x0d);  // element 130: 13
  const auto values = block.values();
  EXPECT_EQ(values[0], 0.5f * 7 * 11 - 0.25f * 9);
  EXPECT_EQ(values[130], 0.5f * (5 + 48) * 13 - 0.25f * (3 + 16));
  EXPECT_EQ(values[32], 0.0f);
}

TEST(Dequantize, Q5K) {
  Block block(DType::q5_k);
  block.set_f16(0, 0.5f);
  block.set_f16(2, 0.25f);
  block.set(4 + 1, 3);      // scale 1
  block.set(4 + 5, 2);      // min 1
  block.set(16 + 5, 0x02);  // high bit of element 37
  block.set(48 + 5, 0x60);  // low bits of element 37: 6
  const auto values = block.values();
  EXPECT_EQ(values[37], 0.5f * 3 * (16 + 6) - 0.25f * 2);
  EXPECT_EQ(values[36], -0.25f * 2);
  EXPECT_EQ(values[5], 0.0f);
}

TEST(Dequantize, Q6K) {
  Block block(DType::q6_k);
  block.set(64 + 32 + 1, 0x70);   // low bits of element 225: 7
  block.set(128 + 32 + 1, 0x80);  // its high bits: 2
  block.set(192 + 14, -3);        // scale of elements 224..239
  block.set_f16(208, 0.5f);
  const auto values = block.values();
  EXPECT_EQ(values[225], 0.5f * -3 * ((7 | 2 << 4) - 32));
  EXPECT_EQ(values[226], 0.5f * -3 * -32);
  EXPECT_EQ(values[0], 0.0f);
}

// Random blocks of every type against the Python package `gguf` (tools/make_dequantize_golden.py). Products
// of scale, sub-scale and code are exact in f32 or rounded once, so that the values are equal; only a zero's
// sign may differ.
class GoldenBlocksTest : public ::testing::TestWithParam<DType> {};

TEST_P(GoldenBlocksTest, SameValues) {
  const DTypeInfo& type = info(GetParam());
  std::ifstream in(std::string(PAGODA_TEST_DATA) + "/dequantize/" + std::string(type.name) + ".bin",
                   std::ios::binary);
  const std::string file{std::istreambuf_iterator<char>(in), {}};
  const size_t bytes_per_block = type.block_bytes + type.block_len * sizeof(float);
  ASSERT_GT(file.size(), 0u);
  ASSERT_EQ(file.size() % bytes_per_block, 0u);
  const size_t num_blocks = file.size() / bytes_per_block;
  std::vector<float> want(num_blocks * type.block_len);
  std::memcpy(want.data(), file.data() + num_blocks * type.block_bytes, want.size() * sizeof(float));

  const auto blocks = std::as_bytes(std::span(file.data(), num_blocks * type.block_bytes));
  std::vector<float> got(want.size());
  dequantize_row(GetParam(), blocks, got);
  for (size_t i = 0; i < want.size(); ++i)
    ASSERT_EQ(got[i], want[i]) << "element " << i % type.block_len << " of block " << i / type.block_len;
}

INSTANTIATE_TEST_SUITE_P(Types, GoldenBlocksTest, ::testing::ValuesIn(kQuantized),
                         [](const auto& param) { return std::string(to_string(param.param)); });

TEST(Dequantize, PlainTypesAtAnyAddress) {
  std::vector<std::byte> bytes(1 + 4 * 3);
  const float floats[] = {1.5f, -0.0f, 3e38f};
  std::memcpy(bytes.data() + 1, floats, sizeof floats);
  float out[3];
  dequantize_row(DType::f32, std::span(bytes).subspan(1), out);
  EXPECT_EQ(std::memcmp(out, floats, sizeof floats), 0);
  const uint16_t halves[] = {0x3e00, 0xc000, 0x7c00};
  std::memcpy(bytes.data() + 1, halves, sizeof halves);
  dequantize_row(DType::f16, std::span(bytes).subspan(1, sizeof halves), out);
  EXPECT_EQ(out[0], 1.5f);
  EXPECT_EQ(out[1], -2.0f);
  EXPECT_EQ(std::bit_cast<uint32_t>(out[2]), 0x7f800000u);
  dequantize_row(DType::bf16, std::span(bytes).subspan(1, sizeof halves), out);
  EXPECT_EQ(std::bit_cast<uint32_t>(out[0]), 0x3e000000u);
}

TEST(Dequantize, ChecksTheSize) {
  const std::vector<std::byte> bytes(18);
  std::vector<float> out(64);
  EXPECT_DEATH(dequantize_row(DType::q4_0, bytes, out), "18 bytes for 64 elements of q4_0");
}

}  // namespace
}  // namespace pagoda
