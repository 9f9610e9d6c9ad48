#include "weights/unpack_row.h"

#include <cstdint>
#include <cstring>

#include "base/check.h"
#include "kernels/isa/linear_layout.h"
#include "tensor/half.h"

namespace pagoda {

namespace {

constexpr int kRows = 16;

uint16_t load_u16(const uint8_t* table, int64_t index) {
  uint16_t bits;
  std::memcpy(&bits, table + 2 * index, sizeof bits);
  return bits;
}

uint32_t load_word(const uint8_t* quants, int vector, int row) {
  uint32_t word;
  std::memcpy(&word, quants + 64 * vector + 4 * row, sizeof word);
  return word;
}

// The eight words of 4 unsigned quants that 32 k of a row are packed from; the inverse of the table in
// linear_layout.h.
void unpack_words(int bits, const uint8_t* quants, int row, uint32_t (&o)[8]) {
  const auto v = [=](int vector) { return load_word(quants, vector, row); };
  switch (bits) {
    case 4:
      for (int g = 0; g < 4; ++g) {
        o[2 * g] = v(g) & 0x0f0f0f0f;
        o[2 * g + 1] = v(g) >> 4 & 0x0f0f0f0f;
      }
      break;
    case 5:
      for (int i = 0; i < 5; ++i) o[i] = v(i) & 0x1f1f1f1f;
      o[5] = (v(0) >> 5 & 0x07070707) | (v(1) >> 3 & 0x18181818);
      o[6] = (v(2) >> 5 & 0x07070707) | (v(3) >> 3 & 0x18181818);
      o[7] = (v(4) >> 5 & 0x07070707) | (v(1) >> 2 & 0x08080808) | (v(3) >> 1 & 0x10101010);
      break;
    case 6:
      for (int h = 0; h < 2; ++h) {
        const uint32_t a = v(3 * h);
        const uint32_t b = v(3 * h + 1);
        const uint32_t c = v(3 * h + 2);
        o[4 * h] = a & 0x3f3f3f3f;
        o[4 * h + 1] = b & 0x3f3f3f3f;
        o[4 * h + 2] = c & 0x3f3f3f3f;
        o[4 * h + 3] = (a >> 6 & 0x03030303) | (b >> 4 & 0x0c0c0c0c) | (c >> 2 & 0x30303030);
      }
      break;
    default:
      for (int i = 0; i < 8; ++i) o[i] = v(i);
  }
}

// One row of one block, in the arithmetic of tensor/dequantize.cpp.
void unpack_block(const PackedFormat& format, const uint8_t* block, int row, float* out) {
  const BlockLayout at = block_layout(format);
  const float d = f16_to_f32(load_u16(block + at.d, row));
  const float dmin = format.has_min != 0 ? f16_to_f32(load_u16(block + at.dmin, row)) : 0.0f;
  for (int run = 0; run < format.block_length / 32; ++run, out += 32) {
    uint32_t words[8];
    unpack_words(format.bits, block + at.quants + run * 64 * format.bits, row, words);
    uint8_t quants[32];
    std::memcpy(quants, words, sizeof quants);
    for (int i = 0; i < 32; ++i) {
      const int q = quants[i] - format.zero_point;
      if (format.block_length == 32) {
        out[i] = format.has_min != 0 ? d * static_cast<float>(q) + dmin : d * static_cast<float>(q);
        continue;
      }
      const int sub = (run * 32 + i) / format.sub_length;
      const float scaled =
          d * static_cast<float>(static_cast<int8_t>(block[at.scales + sub * kRows + row]) * q);
      if (format.has_min == 0) {
        out[i] = scaled;
        continue;
      }
      const int min = format.sub_length == 32 ? block[at.mins + sub / 2 * 32 + row * 2 + sub % 2]
                                              : block[at.mins + sub * kRows + row];
      out[i] = scaled - dmin * static_cast<float>(min);
    }
  }
}

float plain_value(const PackedWeight& weight, const uint8_t* group, int64_t k, int row) {
  if (weight.dtype == DType::bf16)
    return bf16_to_f32(packed_bf16(weight.packing, group, weight.num_cols, k, row));
  if (weight.dtype == DType::f16) return f16_to_f32(load_u16(group, k * kRows + row));
  float value;
  std::memcpy(&value, group + 4 * (k * kRows + row), sizeof value);
  return value;
}

}  // namespace

void unpack_row(const PackedWeight& weight, int64_t row, std::span<float> out) {
  PAGODA_CHECK(row >= 0 && row < weight.num_rows && out.size() == static_cast<size_t>(weight.num_cols),
               "row {} of {}, {} columns", row, weight.num_rows, out.size());
  const int64_t rows = weight.rows_per_group();
  const auto* group =
      reinterpret_cast<const uint8_t*>(weight.data) + static_cast<size_t>(row / rows) * weight.group_bytes();
  const auto lane = static_cast<int>(row % rows);
  if (is_float(weight.dtype)) {
    for (int64_t k = 0; k < weight.num_cols; ++k)
      out[static_cast<size_t>(k)] = plain_value(weight, group, k, lane);
    return;
  }
  const PackedFormat format = packed_format(weight.dtype);
  const auto block_bytes = static_cast<int64_t>(block_layout(format).bytes);
  for (int64_t b = 0; b < weight.num_cols / format.block_length; ++b)
    unpack_block(format, group + b * block_bytes, lane, out.data() + b * format.block_length);
}

}  // namespace pagoda
