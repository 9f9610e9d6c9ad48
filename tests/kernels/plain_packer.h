// The packed layout written quant by quant, for reading: what pack_group() must give to the byte.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <vector>

#include "base/check.h"
#include "kernels/isa/linear_layout.h"
#include "kernels/linear.h"
#include "tensor/load_bytes.h"

namespace pagoda::plain {

inline constexpr size_t kRows = kRowsPerGroup;

// One block of one row. Formats with 32 elements use the first 32 quants and no sub-block scales.
struct StoredBlock {
  uint8_t quants[256];  // q + zero point of the packed format
  int8_t scales[16];
  uint8_t mins[16];
  uint16_t d;     // f16 bits
  uint16_t dmin;  // f16 bits: m of q4_1 and q5_1, dmin of q*_k
};

// The table of iq4_nl plus 128, the zero point of 8-bit packed quants.
inline constexpr std::array<uint8_t, 16> kIq4NlBiased = {1,   24,  45,  63,  79,  93,  106, 118,
                                                         129, 141, 153, 166, 181, 197, 217, 241};

// 32 quants of blocks of 32: low nibbles, then high nibbles.
inline void read_nibbles(const uint8_t* qs, uint8_t* quants) {
  for (int i = 0; i < 16; ++i) {
    quants[i] = qs[i] & 15;
    quants[16 + i] = static_cast<uint8_t>(qs[i] >> 4);
  }
}
inline void add_fifth_bits(uint32_t high, uint8_t* quants) {
  for (int i = 0; i < 32; ++i) quants[i] |= static_cast<uint8_t>(((high >> i) & 1) << 4);
}

inline void read_q4(const uint8_t* b, int has_min, StoredBlock& out) {
  out.d = load_u16(b);
  if (has_min) out.dmin = load_u16(b + 2);
  read_nibbles(b + 2 + 2 * has_min, out.quants);
}
inline void read_q5(const uint8_t* b, int has_min, StoredBlock& out) {
  out.d = load_u16(b);
  if (has_min) out.dmin = load_u16(b + 2);
  read_nibbles(b + 6 + 2 * has_min, out.quants);
  add_fifth_bits(load_u32(b + 2 + 2 * has_min), out.quants);
}
inline void read_q8_0(const uint8_t* b, StoredBlock& out) {
  out.d = load_u16(b);
  for (int i = 0; i < 32; ++i) out.quants[i] = b[2 + i] ^ 0x80;
}
inline void read_iq4_nl(const uint8_t* b, StoredBlock& out) {
  out.d = load_u16(b);
  read_nibbles(b + 2, out.quants);
  for (int i = 0; i < 32; ++i) out.quants[i] = kIq4NlBiased[out.quants[i]];
}

// 128 elements share 32 bytes, shift 0, 2, 4, 6 for each run of 32.
inline void read_two_bits(const uint8_t* bytes, uint8_t* quants) {
  for (int run = 0; run < 8; ++run)
    for (int i = 0; i < 32; ++i) quants[run * 32 + i] = bytes[run / 4 * 32 + i] >> (run % 4 * 2) & 3;
}

inline void read_q2_k(const uint8_t* b, StoredBlock& out) {
  for (int j = 0; j < 16; ++j) {
    out.scales[j] = static_cast<int8_t>(b[j] & 15);
    out.mins[j] = static_cast<uint8_t>(b[j] >> 4);
  }
  read_two_bits(b + 16, out.quants);
  out.d = load_u16(b + 80);
  out.dmin = load_u16(b + 82);
}

// True quants are two bits plus 4 times the high bit, minus 4; the zero point of 6-bit packed quants is 32.
inline void read_q3_k(const uint8_t* b, StoredBlock& out) {
  const uint8_t* scales = b + 96;
  for (int j = 0; j < 16; ++j) {
    const int low = j < 8 ? scales[j] & 15 : scales[j - 8] >> 4;
    const int high = scales[8 + j % 4] >> (j / 4 * 2) & 3;
    out.scales[j] = static_cast<int8_t>((low | high << 4) - 32);
  }
  read_two_bits(b + 32, out.quants);
  for (int run = 0; run < 8; ++run)
    for (int i = 0; i < 32; ++i)
      out.quants[run * 32 + i] =
          static_cast<uint8_t>(out.quants[run * 32 + i] + (b[i] >> run & 1) * 4 + (32 - 4));
  out.d = load_u16(b + 108);
}

// Header, scales and nibbles of q4_k and q5_k: eight 6-bit scales and mins in 12 bytes; 64 elements share 32
// bytes.
inline void read_k4(const uint8_t* b, const uint8_t* qs, StoredBlock& out) {
  out.d = load_u16(b);
  out.dmin = load_u16(b + 2);
  const uint8_t* s = b + 4;
  for (int j = 0; j < 4; ++j) {
    out.scales[j] = static_cast<int8_t>(s[j] & 63);
    out.mins[j] = s[j + 4] & 63;
    out.scales[j + 4] = static_cast<int8_t>((s[j + 8] & 15) | (s[j] >> 6) << 4);
    out.mins[j + 4] = static_cast<uint8_t>((s[j + 8] >> 4) | (s[j + 4] >> 6) << 4);
  }
  for (int pair = 0; pair < 4; ++pair) {
    for (int i = 0; i < 32; ++i) {
      out.quants[pair * 64 + i] = qs[pair * 32 + i] & 15;
      out.quants[pair * 64 + 32 + i] = static_cast<uint8_t>(qs[pair * 32 + i] >> 4);
    }
  }
}
inline void read_q5_k(const uint8_t* b, StoredBlock& out) {
  read_k4(b, b + 48, out);
  for (int run = 0; run < 8; ++run)
    for (int i = 0; i < 32; ++i)
      out.quants[run * 32 + i] |= static_cast<uint8_t>((b[16 + i] >> run & 1) << 4);
}

inline void read_q6_k(const uint8_t* b, StoredBlock& out) {
  read_two_bits(b + 128, out.quants);
  for (int run = 0; run < 8; ++run) {
    const uint8_t* low = b + run / 4 * 64 + run % 2 * 32;
    const int shift = run % 4 < 2 ? 0 : 4;
    for (int i = 0; i < 32; ++i)
      out.quants[run * 32 + i] = static_cast<uint8_t>(out.quants[run * 32 + i] << 4 | (low[i] >> shift & 15));
  }
  std::memcpy(out.scales, b + 192, 16);
  out.d = load_u16(b + 208);
}

inline void read_block(DType dtype, const std::byte* bytes, StoredBlock& block) {
  const auto* b = reinterpret_cast<const uint8_t*>(bytes);
  switch (dtype) {
    case DType::q4_0:
      return read_q4(b, 0, block);
    case DType::q4_1:
      return read_q4(b, 1, block);
    case DType::q5_0:
      return read_q5(b, 0, block);
    case DType::q5_1:
      return read_q5(b, 1, block);
    case DType::q8_0:
      return read_q8_0(b, block);
    case DType::iq4_nl:
      return read_iq4_nl(b, block);
    case DType::q2_k:
      return read_q2_k(b, block);
    case DType::q3_k:
      return read_q3_k(b, block);
    case DType::q4_k:
      return read_k4(b, b + 16, block);
    case DType::q5_k:
      return read_q5_k(b, block);
    case DType::q6_k:
      return read_q6_k(b, block);
    case DType::f32:
    case DType::f16:
    case DType::bf16:
      break;
  }
  PAGODA_CHECK(false, "{} has no blocks", to_string(dtype));
}

// Operands of 32 k as 32-bit words of 4 quants: word(row, o).
inline void pack_quants(int bits, const uint32_t (&words)[kRows][8], std::byte* out) {
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

inline void put_u16(std::byte* out, size_t row, uint16_t value) {
  std::memcpy(out + 2 * row, &value, sizeof value);
}

inline void pack_header(const PackedFormat& format, const StoredBlock (&blocks)[kRows], std::byte* out) {
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
inline StoredBlock zero_block(const PackedFormat& format) {
  StoredBlock block = {};
  std::memset(block.quants, format.zero_point, sizeof block.quants);
  return block;
}

inline void pack_quantised(DType dtype, std::span<const std::byte* const, 16> rows, int64_t num_cols,
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

inline void pack_bf16(std::span<const std::byte* const, 16> rows, int64_t num_cols, std::byte* out) {
  for (size_t r = 0; r < kRows; ++r)
    for (size_t k = 0; k < static_cast<size_t>(num_cols) && rows[r] != nullptr; ++k)
      std::memcpy(out + ((k / 2 * kRows + r) * 2 + k % 2) * 2, rows[r] + k * 2, 2);
}

// The bits of a weight of some rows; zero outside of them.
inline uint16_t bf16_at(std::span<const std::byte* const> rows, size_t num_cols, size_t row, size_t k) {
  uint16_t bits = 0;
  if (rows[row] != nullptr && k < num_cols) std::memcpy(&bits, rows[row] + 2 * k, 2);
  return bits;
}

// The exponents of columns [begin, end), taken in pairs, of 16 rows: in the order in which they are met, or,
// if they are more than 16, those that are met most often first.
inline std::vector<uint8_t> palette_of(std::span<const std::byte* const> rows, size_t num_cols, size_t begin,
                                       size_t end) {
  std::vector<uint8_t> met;
  std::array<int, 256> counts = {};
  for (size_t k = begin; k < end; k += 2) {
    for (size_t row = 0; row < kRows; ++row) {
      for (size_t odd = 0; odd < 2; ++odd) {
        const auto exponent = static_cast<uint8_t>(bf16_at(rows, num_cols, row, k + odd) >> 7);
        if (counts[exponent]++ == 0) met.push_back(exponent);
      }
    }
  }
  if (met.size() > 16)
    std::ranges::stable_sort(met, [&](uint8_t a, uint8_t b) { return counts[a] > counts[b]; });
  met.resize(std::min<size_t>(met.size(), 16));
  return met;
}

// Of each 64 k, for rows 0 to 15 and 16 to 31, the palette in 16 bytes; words for weights with other
// exponents, filled up with ones; then, of each 8 k and of either half of the rows, 2 x 64 bytes of signs and
// mantissas and 64 bytes of codes.
inline void pack_palette(std::span<const std::byte* const> group, int64_t num_cols, std::byte* out) {
  const auto cols = static_cast<size_t>(num_cols);
  const size_t num_blocks = (cols + 63) / 64;
  const size_t runs = (num_blocks * (2 * 16 + 2 * 4) + 63) / 64 * 64;
  std::byte* exceptions = out + num_blocks * 32;
  std::fill(exceptions, out + runs, std::byte{0xff});
  for (size_t part = 0; part < 2 * num_blocks; ++part) {
    const size_t half = part % 2;
    const auto rows = group.subspan(half * kRows, kRows);
    const size_t begin = part / 2 * 64;
    const size_t end = std::min(begin + 64, (cols + 7) / 8 * 8);
    const std::vector<uint8_t> palette = palette_of(rows, cols, begin, end);
    for (size_t i = 0; i < palette.size(); ++i) out[part * 16 + i] = std::byte{palette[i]};
    for (size_t pair = begin / 2; pair < end / 2; ++pair) {
      std::byte* run = out + runs + pair / 4 * 384 + half * 192;
      const size_t i = pair % 4;
      for (size_t row = 0; row < kRows; ++row) {
        for (size_t odd = 0; odd < 2; ++odd) {
          const size_t k = 2 * pair + odd;
          const uint16_t bits = bf16_at(rows, cols, row, k);
          const auto exponent = static_cast<uint8_t>(bits >> 7);
          auto place = static_cast<size_t>(std::ranges::find(palette, exponent) - palette.begin());
          if (place == palette.size()) {
            place = 0;
            const auto word = static_cast<uint32_t>(k << 13 | (half * kRows + row) << 8 | exponent);
            if (k < cols + cols % 2) std::memcpy(std::exchange(exceptions, exceptions + 4), &word, 4);
          }
          // Byte b of a lane has bits 8b to 8b+7. The first pair of two has its signs in bytes 1 and 3, its
          // mantissas in bytes 0 and 2; the second has its signs in 0 and 2, its mantissas in 3 and 1.
          std::byte* lane = run + i / 2 * 64 + row * 4;
          const size_t sign = i % 2 == 0 ? 2 * odd + 1 : 2 * odd;
          const size_t mantissa = (sign + 3) % 4;
          lane[sign] |= static_cast<std::byte>(bits >> 8 & 0x80);
          lane[mantissa] |= static_cast<std::byte>(bits & 0x7f);
          std::byte* code = run + 128 + row * 4 + odd * 2;
          const size_t shifted = place << (4 * i);
          code[0] |= static_cast<std::byte>(shifted);
          code[1] |= static_cast<std::byte>(shifted >> 8);
        }
      }
    }
  }
}

// `out` must be zero-filled.
inline void pack_group(DType dtype, Packing packing, std::span<const std::byte* const> group,
                       int64_t num_cols, std::byte* out) {
  if (packing == Packing::palette) return pack_palette(group, num_cols, out);
  const auto rows = group.first<kRows>();
  if (dtype == DType::f32) return pack_plain<4>(rows, num_cols, out);
  if (dtype == DType::bf16) return pack_bf16(rows, num_cols, out);
  if (is_float(dtype)) return pack_plain<2>(rows, num_cols, out);
  pack_quantised(dtype, rows, num_cols, out);
}

}  // namespace pagoda::plain
