// Sizes and packing; the arithmetic is in isa/.
#include "kernels/linear.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "kernels/isa/linear_layout.h"
#include "kernels/pack_bf16.h"
#include "kernels/stored_block.h"

namespace pagoda {

namespace {

constexpr size_t kRows = kRowsPerGroup;

size_t round_up(size_t value, size_t unit) {
  return (value + unit - 1) / unit * unit;
}

// Writes row r's lanes of 32 k: o are its 8 words of 4 quants.
template <int kBits>
void pack_lane(const uint32_t* o, size_t r, std::byte* out) {
  const auto store = [&](int vector, uint32_t value) {
    std::memcpy(out + vector * 64 + static_cast<int>(r) * 4, &value, sizeof value);
  };
  if constexpr (kBits == 4) {
    for (int g = 0; g < 4; ++g) store(g, o[2 * g] | o[2 * g + 1] << 4);
  } else if constexpr (kBits == 5) {
    store(0, o[0] | (o[5] & 0x07070707) << 5);
    store(1, o[1] | (o[7] & 0x08080808) << 2 | (o[5] & 0x18181818) << 3);
    store(2, o[2] | (o[6] & 0x07070707) << 5);
    store(3, o[3] | (o[7] & 0x10101010) << 1 | (o[6] & 0x18181818) << 3);
    store(4, o[4] | (o[7] & 0x07070707) << 5);
  } else if constexpr (kBits == 6) {
    for (int h = 0; h < 2; ++h) {
      const uint32_t spread = o[4 * h + 3];
      store(3 * h, o[4 * h] | (spread & 0x03030303) << 6);
      store(3 * h + 1, o[4 * h + 1] | (spread & 0x0c0c0c0c) << 4);
      store(3 * h + 2, o[4 * h + 2] | (spread & 0x30303030) << 2);
    }
  } else {
    for (int i = 0; i < 8; ++i) store(i, o[i]);
  }
}

void put_u16(std::byte* out, size_t row, uint16_t value) {
  std::memcpy(out + 2 * row, &value, sizeof value);
}

// Row r's part of a packed block.
template <PackedFormat kFormat>
void pack_row(const StoredBlock& block, size_t r, std::byte* out) {
  constexpr BlockLayout kAt = block_layout(kFormat);
  constexpr int kSubs = kFormat.block_length == 256 ? 256 / kFormat.sub_length : 0;
  put_u16(out + kAt.d, r, block.d);
  if constexpr (kFormat.has_min != 0) put_u16(out + kAt.dmin, r, block.dmin);
  for (int j = 0; j < kSubs; ++j) {
    out[kAt.scales + j * 16 + static_cast<int>(r)] = static_cast<std::byte>(block.scales[j]);
    if constexpr (kFormat.has_min != 0) {
      const int min = kFormat.sub_length == 32 ? j / 2 * 32 + static_cast<int>(r) * 2 + j % 2
                                               : j * 16 + static_cast<int>(r);
      out[kAt.mins + min] = static_cast<std::byte>(block.mins[j]);
    }
  }
  for (int run = 0; run < kFormat.block_length / 32; ++run)
    pack_lane<kFormat.bits>(block.words + run * 8, r, out + kAt.quants + run * 64 * kFormat.bits);
}

// A block whose every value is 0.
StoredBlock zero_block(const PackedFormat& format) {
  StoredBlock block = {};
  std::memset(block.words, format.zero_point, sizeof block.words);
  return block;
}

template <DType kType>
void pack_quantised(std::span<const std::byte* const, 16> rows, int64_t num_cols, std::byte* out) {
  constexpr PackedFormat kFormat = packed_format(kType);
  constexpr BlockLayout kAt = block_layout(kFormat);
  const size_t stored_bytes = info(kType).block_bytes;
  const auto num_blocks = static_cast<size_t>(num_cols / kFormat.block_length);
  const StoredBlock zero = zero_block(kFormat);
  for (size_t b = 0; b < num_blocks; ++b, out += kAt.bytes) {
    std::memset(out, 0, static_cast<size_t>(kAt.quants));
    for (size_t r = 0; r < kRows; ++r) {
      if (rows[r] == nullptr) {
        pack_row<kFormat>(zero, r, out);
        continue;
      }
      StoredBlock block;
      read_block(kType, rows[r] + b * stored_bytes, block);
      pack_row<kFormat>(block, r, out);
    }
  }
}

// In runs of k, so that the rows' strided stores stay in the first cache.
template <size_t kBytes>
void pack_plain(std::span<const std::byte* const, 16> rows, int64_t num_cols, std::byte* out) {
  constexpr size_t kRun = 64;
  const auto end = static_cast<size_t>(num_cols);
  for (size_t begin = 0; begin < end; begin += kRun) {
    for (size_t r = 0; r < kRows; ++r) {
      const std::byte* row = rows[r];
      std::byte* lane = out + r * kBytes;
      const size_t run_end = std::min(begin + kRun, end);
      if (row == nullptr)
        for (size_t k = begin; k < run_end; ++k) std::memset(lane + k * kRows * kBytes, 0, kBytes);
      else
        for (size_t k = begin; k < run_end; ++k)
          std::memcpy(lane + k * kRows * kBytes, row + k * kBytes, kBytes);
    }
  }
}

using Pack = void (*)(std::span<const std::byte* const, 16>, int64_t, std::byte*);

Pack packer(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return pack_plain<4>;
    case DType::f16:
      return pack_plain<2>;
    case DType::bf16:
      break;  // pack_bf16.h
    case DType::q4_0:
      return pack_quantised<DType::q4_0>;
    case DType::q4_1:
      return pack_quantised<DType::q4_1>;
    case DType::q5_0:
      return pack_quantised<DType::q5_0>;
    case DType::q5_1:
      return pack_quantised<DType::q5_1>;
    case DType::q8_0:
      return pack_quantised<DType::q8_0>;
    case DType::iq4_nl:
      return pack_quantised<DType::iq4_nl>;
    case DType::q2_k:
      return pack_quantised<DType::q2_k>;
    case DType::q3_k:
      return pack_quantised<DType::q3_k>;
    case DType::q4_k:
      return pack_quantised<DType::q4_k>;
    case DType::q5_k:
      return pack_quantised<DType::q5_k>;
    case DType::q6_k:
      return pack_quantised<DType::q6_k>;
  }
  PAGODA_CHECK(false, "no packed layout for {}", to_string(dtype));
}

size_t packed_bytes_without_padding(DType dtype, Packing packing, int64_t num_cols) {
  if (dtype == DType::bf16) {
    const Bf16Layout layout = bf16_layout(packing);
    const int64_t run_cols = 2 * layout.run_vectors;
    const int64_t num_runs = (num_cols + run_cols - 1) / run_cols;
    return static_cast<size_t>(layout.header_bytes + num_runs * layout.run_bytes);
  }
  if (is_float(dtype)) return kRows * info(dtype).block_bytes * static_cast<size_t>(num_cols);
  const PackedFormat format = packed_format(dtype);
  return static_cast<size_t>(num_cols / format.block_length) *
         static_cast<size_t>(block_layout(format).bytes);
}

}  // namespace

ActivationFormat PackedWeight::activation_format() const {
  if (dtype == DType::bf16 && float_activations == FloatActivations::bf16) return ActivationFormat::bf16;
  if (is_float(dtype)) return ActivationFormat::f32;
  return packed_format(dtype).block_length == 256 ? ActivationFormat::q8_256 : ActivationFormat::q8_32;
}

size_t PackedWeight::group_bytes() const {
  return packed_group_bytes(dtype, packing, num_cols);
}

Packing smallest_packing(DType dtype, int64_t num_cols) {
  if (dtype != DType::bf16) return Packing::plain;
  return packed_group_bytes(dtype, Packing::palette, num_cols) <
                 packed_group_bytes(dtype, Packing::plain, num_cols)
             ? Packing::palette
             : Packing::plain;
}

size_t packed_group_bytes(DType dtype, Packing packing, int64_t num_cols) {
  PAGODA_CHECK(num_cols > 0 && num_cols % info(dtype).block_len == 0, "{} columns of {}", num_cols,
               to_string(dtype));
  PAGODA_CHECK(packing == Packing::plain || dtype == DType::bf16, "a palette for {}", to_string(dtype));
  return round_up(packed_bytes_without_padding(dtype, packing, num_cols), 64);
}

bool pack_group(DType dtype, Packing packing, std::span<const std::byte* const, 16> rows, int64_t num_cols,
                std::byte* out) {
  const size_t padded = packed_group_bytes(dtype, packing, num_cols);
  if (dtype == DType::bf16) {
    if (!pack_bf16(packing, rows, num_cols, out)) return false;
  } else {
    packer(dtype)(rows, num_cols, out);
  }
  const size_t used = packed_bytes_without_padding(dtype, packing, num_cols);
  std::memset(out + used, 0, padded - used);
  return true;
}

size_t activation_row_bytes(ActivationFormat format, int64_t num_cols) {
  const auto cols = static_cast<size_t>(num_cols);
  const auto bytes = [&]() -> size_t {
    switch (format) {
      case ActivationFormat::f32:
        return cols * sizeof(float);
      case ActivationFormat::bf16:
        return cols * sizeof(uint16_t);
      case ActivationFormat::q8_32:
        return cols / 32 * sizeof(Activation32);
      case ActivationFormat::q8_256:
        return cols / 256 * sizeof(Activation256);
    }
    return 0;
  }();
  // An odd number of cache lines: rows that a tile reads side by side never fall into the same cache sets.
  return round_up(bytes, 64) | 64;
}

}  // namespace pagoda
