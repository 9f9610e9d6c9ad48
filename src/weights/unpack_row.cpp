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

// The eight words of 4 unsigned quants that 32 k of a row are packed from.
void unpack_words(int bits, const uint8_t* quants, int row, uint32_t (&o)[8]) {
  uint32_t v[8];
  for (int i = 0; i < bits; ++i) v[i] = load_word(quants, i, row);
  switch (bits) {
    case 2:
      return unpack_operands<2>(v, o);
    case 3:
      return unpack_operands<3>(v, o);
    case 4:
      return unpack_operands<4>(v, o);
    case 5:
      return unpack_operands<5>(v, o);
    case 6:
      return unpack_operands<6>(v, o);
    default:
      return unpack_operands<8>(v, o);
  }
}

// One row of one block, in the arithmetic of tensor/dequantize.cpp. details: of an outline.
void unpack_block(const PackedFormat& format, const uint8_t* block, const uint8_t* details, int row,
                  float* out) {
  const BlockLayout at = block_layout(format);
  const float d = f16_to_f32(load_u16(block + at.d, row));
  const float dmin = format.has_min != 0 ? f16_to_f32(load_u16(block + at.dmin, row)) : 0.0f;
  for (int run = 0; run < format.block_length / 32; ++run, out += 32) {
    uint32_t words[8];
    unpack_words(format.bits, block + at.quants + run * 64 * format.bits, row, words);
    if (format.detail_bits > 0) {
      uint32_t lower[8];
      unpack_words(format.detail_bits, details + run * 64 * format.detail_bits, row, lower);
      for (int i = 0; i < 8; ++i) words[i] = words[i] << format.detail_bits | lower[i];
    }
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
  const bool is_outline = weight.packing == Packing::outline;
  const PackedFormat format = is_outline ? outline_format(weight.dtype) : packed_format(weight.dtype);
  const auto* details = reinterpret_cast<const uint8_t*>(weight.details);
  if (is_outline) details += static_cast<size_t>(row / rows) * weight.details_bytes();
  const auto block_bytes = static_cast<int64_t>(block_layout(format).bytes);
  for (int64_t b = 0; b < weight.num_cols / format.block_length; ++b)
    unpack_block(format, group + b * block_bytes,
                 is_outline ? details + b * block_details_bytes(format) : nullptr, lane,
                 out.data() + b * format.block_length);
}

}  // namespace pagoda
