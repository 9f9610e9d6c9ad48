// Sizes and packing; the arithmetic is in isa/.
#include "kernels/linear.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "kernels/isa/linear_layout.h"
#include "kernels/stored_block.h"

namespace pagoda {

namespace {

constexpr size_t kRows = kRowsPerGroup;

size_t round_up(size_t value, size_t unit) {
  return (value + unit - 1) / unit * unit;
}

// Operands of 32 k as 32-bit words of 4 quants: word(row, o).
void pack_quants(int bits, const uint32_t (&words)[kRows][8], std::byte* out) {
  const auto store = [&](int vector, size_t row, uint32_t value) {
    std::memcpy(out + vector * 64 + static_cast<int>(row) * 4, &value, sizeof value);
  };
  for (size_t r = 0; r < kRows; ++r) {
    const uint32_t* o = words[r];
    switch (bits) {
      case 4:
        for (int g = 0; g < 4; ++g) store(g, r, o[2 * g] | o[2 * g + 1] << 4);
        break;
      case 5:
        store(0, r, o[0] | (o[5] & 0x07070707) << 5);
        store(1, r, o[1] | (o[7] & 0x08080808) << 2 | (o[5] & 0x18181818) << 3);
        store(2, r, o[2] | (o[6] & 0x07070707) << 5);
        store(3, r, o[3] | (o[7] & 0x10101010) << 1 | (o[6] & 0x18181818) << 3);
        store(4, r, o[4] | (o[7] & 0x07070707) << 5);
        break;
      case 6:
        for (int h = 0; h < 2; ++h) {
          const uint32_t spread = o[4 * h + 3];
          store(3 * h, r, o[4 * h] | (spread & 0x03030303) << 6);
          store(3 * h + 1, r, o[4 * h + 1] | (spread & 0x0c0c0c0c) << 4);
          store(3 * h + 2, r, o[4 * h + 2] | (spread & 0x30303030) << 2);
        }
        break;
      default:
        for (int i = 0; i < 8; ++i) store(i, r, o[i]);
    }
  }
}

void put_u16(std::byte* out, size_t row, uint16_t value) {
  std::memcpy(out + 2 * row, &value, sizeof value);
}

void pack_header(const PackedFormat& format, const StoredBlock (&blocks)[kRows], std::byte* out) {
  const BlockLayout at = block_layout(format);
  const int num_subs = format.block_length == 256 ? 256 / format.sub_length : 0;
  for (size_t r = 0; r < kRows; ++r) {
    const StoredBlock& block = blocks[r];
    put_u16(out + at.d, r, block.d);
    if (format.has_min) put_u16(out + at.dmin, r, block.dmin);
    for (int j = 0; j < num_subs; ++j) {
      out[at.scales + j * 16 + static_cast<int>(r)] = static_cast<std::byte>(block.scales[j]);
      if (!format.has_min) continue;
      const int min = format.sub_length == 32 ? j / 2 * 32 + static_cast<int>(r) * 2 + j % 2
                                              : j * 16 + static_cast<int>(r);
      out[at.mins + min] = static_cast<std::byte>(block.mins[j]);
    }
  }
}

// A block whose every value is 0.
StoredBlock zero_block(const PackedFormat& format) {
  StoredBlock block = {};
  std::memset(block.quants, format.zero_point, sizeof block.quants);
  return block;
}

void pack_quantised(DType dtype, std::span<const std::byte* const, 16> rows, int64_t num_cols,
                    std::byte* out) {
  const PackedFormat format = packed_format(dtype);
  const BlockLayout at = block_layout(format);
  const size_t stored_bytes = info(dtype).block_bytes;
  const int64_t num_blocks = num_cols / format.block_length;
  StoredBlock blocks[kRows];
  std::fill_n(blocks, kRows, zero_block(format));
  for (int64_t b = 0; b < num_blocks; ++b, out += at.bytes) {
    for (size_t r = 0; r < kRows; ++r)
      if (rows[r] != nullptr) read_block(dtype, rows[r] + static_cast<size_t>(b) * stored_bytes, blocks[r]);
    std::memset(out, 0, static_cast<size_t>(at.quants));
    pack_header(format, blocks, out);
    for (int run = 0; run < format.block_length / 32; ++run) {
      uint32_t words[kRows][8];
      for (size_t r = 0; r < kRows; ++r) std::memcpy(words[r], blocks[r].quants + run * 32, 32);
      pack_quants(format.bits, words, out + at.quants + run * 64 * format.bits);
    }
  }
}

template <size_t kBytes>
void pack_plain(std::span<const std::byte* const, 16> rows, int64_t num_cols, std::byte* out) {
  for (size_t r = 0; r < kRows; ++r) {
    for (size_t k = 0; k < static_cast<size_t>(num_cols); ++k) {
      std::byte* to = out + (k * kRows + r) * kBytes;
      if (rows[r] != nullptr)
        std::memcpy(to, rows[r] + k * kBytes, kBytes);
      else
        std::memset(to, 0, kBytes);
    }
  }
}

size_t packed_bytes_without_padding(DType dtype, int64_t num_cols) {
  if (is_float(dtype)) return kRows * info(dtype).block_bytes * static_cast<size_t>(num_cols);
  const PackedFormat format = packed_format(dtype);
  return static_cast<size_t>(num_cols / format.block_length) *
         static_cast<size_t>(block_layout(format).bytes);
}

}  // namespace

ActivationFormat activation_format(DType weight) {
  if (is_float(weight)) return ActivationFormat::f32;
  return packed_format(weight).block_length == 256 ? ActivationFormat::q8_256 : ActivationFormat::q8_32;
}

size_t packed_group_bytes(DType dtype, int64_t num_cols) {
  PAGODA_CHECK(num_cols > 0 && num_cols % info(dtype).block_len == 0, "{} columns of {}", num_cols,
               to_string(dtype));
  return round_up(packed_bytes_without_padding(dtype, num_cols), 64);
}

void pack_group(DType dtype, std::span<const std::byte* const, 16> rows, int64_t num_cols, std::byte* out) {
  const size_t padded = packed_group_bytes(dtype, num_cols);
  switch (dtype) {
    case DType::f32:
      pack_plain<4>(rows, num_cols, out);
      break;
    case DType::f16:
    case DType::bf16:
      pack_plain<2>(rows, num_cols, out);
      break;
    default:
      pack_quantised(dtype, rows, num_cols, out);
  }
  const size_t used = packed_bytes_without_padding(dtype, num_cols);
  std::memset(out + used, 0, padded - used);
}

size_t activation_row_bytes(ActivationFormat format, int64_t num_cols) {
  const auto cols = static_cast<size_t>(num_cols);
  if (format == ActivationFormat::f32) return round_up(4 * cols, 64);
  const size_t bytes = format == ActivationFormat::q8_32 ? cols / 32 * sizeof(Activation32)
                                                         : cols / 256 * sizeof(Activation256);
  // An odd number of cache lines: rows that a tile reads side by side never fall into the same cache sets.
  return round_up(bytes, 64) / 64 % 2 == 1 ? round_up(bytes, 64) : round_up(bytes, 64) + 64;
}

}  // namespace pagoda
