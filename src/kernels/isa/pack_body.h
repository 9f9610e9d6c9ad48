// Packing of quantised weights for as many rows at a time as a `Rows` has (stored_block.h), into the layout
// that linear_layout.h draws. Internal linkage, as there.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/isa/stored_block.h"
#include "kernels/isa/tables.h"

namespace pagoda {
namespace {

// 32 k: o are the 8 operands. Calls store(vector, word).
template <int kBits, class Word, class Store>
PAGODA_INLINE void pack_vectors(const Word (&o)[8], Store store) {
  if constexpr (kBits == 2) {
    PAGODA_UNROLL for (int h = 0; h < 2; ++h)
        store(h, o[4 * h] | o[4 * h + 1] << 2 | o[4 * h + 2] << 4 | o[4 * h + 3] << 6);
  } else if constexpr (kBits == 3) {
    PAGODA_UNROLL for (int i = 0; i < 3; ++i)
        store(i, o[2 * i] | o[2 * i + 1] << 3 | (o[6] >> i & kLow1) << 6 | (o[7] >> i & kLow1) << 7);
  } else if constexpr (kBits == 4) {
    PAGODA_UNROLL for (int g = 0; g < 4; ++g) store(g, o[2 * g] | o[2 * g + 1] << 4);
  } else if constexpr (kBits == 5) {
    store(0, o[0] | (o[5] & kLow3) << 5);
    store(1, o[1] | (o[7] & 0x08080808) << 2 | (o[5] & 0x18181818) << 3);
    store(2, o[2] | (o[6] & kLow3) << 5);
    store(3, o[3] | (o[7] & 0x10101010) << 1 | (o[6] & 0x18181818) << 3);
    store(4, o[4] | (o[7] & kLow3) << 5);
  } else if constexpr (kBits == 6) {
    PAGODA_UNROLL for (int h = 0; h < 2; ++h) {
      const Word spread = o[4 * h + 3];
      store(3 * h, o[4 * h] | (spread & 0x03030303) << 6);
      store(3 * h + 1, o[4 * h + 1] | (spread & 0x0c0c0c0c) << 4);
      store(3 * h + 2, o[4 * h + 2] | (spread & 0x30303030) << 2);
    }
  } else {
    PAGODA_UNROLL for (int i = 0; i < 8; ++i) store(i, o[i]);
  }
}

template <int kBits, class Rows>
PAGODA_INLINE void pack_run(const Rows& rows, const typename Rows::Word (&o)[8], uint8_t* out) {
  pack_vectors<kBits>(o, [&](int vector, const typename Rows::Word& word)
                             PAGODA_INLINE_LAMBDA { rows.store_words(word, out + 64 * vector); });
}

// Scales and minima of a block.
template <PackedFormat kFormat, class Rows, class Block>
PAGODA_INLINE void pack_header(const Rows& rows, const Block& block, uint8_t* out) {
  constexpr BlockLayout kAt = block_layout(kFormat);
  rows.store_halves(block.d(), out + kAt.d);
  if constexpr (kFormat.has_min != 0)
    rows.store_halves(block.dmin(), out + kAt.dmin);
  else if constexpr (kFormat.block_length == 256)
    rows.store_halves(typename Rows::Word{}, out + kAt.dmin);
  if constexpr (kFormat.block_length == 256) {
    PAGODA_UNROLL for (int j = 0; j < 64 / kFormat.sub_length; ++j) {
      rows.store_bytes(block.scales(j), out + kAt.scales + 64 * j);
      if constexpr (kFormat.has_min != 0 && kFormat.sub_length == 32) {
        rows.store_halves(block.mins(j), out + kAt.mins + 64 * j);
        rows.store_halves(block.mins(j) >> 16, out + kAt.mins + 64 * j + 32);
      } else if constexpr (kFormat.has_min != 0) {
        rows.store_bytes(block.mins(j), out + kAt.mins + 64 * j);
      }
    }
  }
}

template <PackedFormat kFormat, class Rows, class Block>
PAGODA_INLINE void pack_block(const Rows& rows, const Block& block, uint8_t* out) {
  constexpr BlockLayout kAt = block_layout(kFormat);
  pack_header<kFormat>(rows, block, out);
  PAGODA_UNROLL for (int run = 0; run < kFormat.block_length / 32; ++run) {
    typename Rows::Word operands[8];
    PAGODA_UNROLL for (int i = 0; i < 8; ++i) operands[i] = block.operand(run, i);
    pack_run<kFormat.bits>(rows, operands, out + kAt.quants + 64 * kFormat.bits * run);
  }
}

// A block whose every value is 0.
template <PackedFormat kFormat>
struct ZeroBlock {
  static uint32_t operand(int, int) { return kFormat.zero_point * kLow1; }
  static uint32_t d() { return 0; }
  static uint32_t dmin() { return 0; }
  static uint32_t scales(int) { return 0; }
  static uint32_t mins(int) { return 0; }
};

// LinearKernels::pack_blocks. Null rows are few, at the end of a matrix: their groups are left to scalar
// code.
template <class Rows>
PAGODA_INLINE void pack_blocks_of(DType dtype, const std::byte* const* rows, int64_t num_blocks,
                                  std::byte* packed) {
  for (int r = 0; r < 16; ++r)
    if (rows[r] == nullptr) return isa_scalar::pack_blocks(dtype, rows, num_blocks, packed);
  visit_stored_block<Rows>(dtype, [&]<class Block, PackedFormat kFormat>() PAGODA_INLINE_LAMBDA {
    auto* out = reinterpret_cast<uint8_t*>(packed);
    for (int64_t b = 0; b < num_blocks; ++b, out += block_layout(kFormat).bytes) {
      for (int first = 0; first < 16; first += Rows::kNum) {
        const Rows place(rows, first, b * Block::kBytes);
        pack_block<kFormat>(place, Block(place), out);
      }
    }
  });
}

}  // namespace
}  // namespace pagoda
