// Stored quantisation blocks (GGUF layouts, see tensor/dequantize.cpp) of several rows as the integers that
// linear layers multiply.
//
// A `Rows` is the same place in as many rows as the ISA's vectors have 32-bit lanes, one of them for scalar
// code. Rows::Word holds 4 neighbouring bytes of each, the first one lowest, and has the operators of
// uint32_t, so that one expression serves 4 quants of every row. A block keeps the words as they are stored
// and computes operands when they are asked for: indices are constants once loops are written out.
//
// Every block has
//   kBytes                      of one stored block
//   StoredBlock(const Rows&)    reads the blocks that begin at the place
//   operand(run, i)             quants of k = 32 * run + 4 * i ... + 3: q + zero point of the packed format
//   d(), dmin()                 f16 bits in the low halves of words; dmin: m of q4_1 and q5_1
//   scales(j), mins(j)          of sub-blocks 4 * j ... 4 * j + 3, a byte each; blocks of 256 only
// Internal linkage, as in linear_layout.h.
#pragma once

#include <cstdint>

#include "kernels/isa/linear_layout.h"
#include "kernels/isa/unroll.h"
#include "tensor/dtype.h"

namespace pagoda {
namespace {

template <class Rows, int kNum>
PAGODA_INLINE void load_words(const Rows& rows, int offset, typename Rows::Word (&words)[kNum]) {
  static_assert(kNum % 4 == 0);
  PAGODA_UNROLL for (int i = 0; i < kNum; i += 4) rows.load4(offset + 4 * i, words + i);
}

// The word that begins in the upper half of `low` and ends in the lower one of the next.
template <class Word>
PAGODA_INLINE Word straddling(const Word& low, const Word& high) {
  return low >> 16 | high << 16;
}

// Blocks of 32: d, perhaps m, perhaps the fifth bits, then low nibbles and high nibbles.
template <class Rows, int kHasMin, int kHasFifthBits>
struct NibbleBlock {
  using Word = typename Rows::Word;
  static constexpr int kQuants = 2 + 2 * kHasMin + 4 * kHasFifthBits;
  static constexpr int kBytes = kQuants + 16;

  PAGODA_INLINE explicit NibbleBlock(const Rows& rows) {
    load_words(rows, 0, head);
    load_words(rows, kQuants, quants);
    if constexpr (kHasFifthBits) fifth_bits = kHasMin ? head[1] : straddling(head[0], head[1]);
  }
  PAGODA_INLINE Word nibbles(int i) const { return (i < 4 ? quants[i] : quants[i - 4] >> 4) & kLow4; }
  PAGODA_INLINE Word operand(int, int i) const {
    if constexpr (!kHasFifthBits) return nibbles(i);
    // The factor puts bit j of four into byte j.
    return nibbles(i) | ((fifth_bits >> (4 * i) & 15) * 0x00204081 & kLow1) << 4;
  }
  PAGODA_INLINE Word d() const { return head[0]; }
  PAGODA_INLINE Word dmin() const { return head[0] >> 16; }

  Word head[4];
  Word quants[4];
  Word fifth_bits;
};

// Nibbles are indices into a table; 128 is added to its values, the zero point of 8-bit packed quants.
template <class Rows>
struct Iq4NlBlock : NibbleBlock<Rows, 0, 0> {
  using NibbleBlock<Rows, 0, 0>::NibbleBlock;
  PAGODA_INLINE typename Rows::Word operand(int, int i) const {
    constexpr uint8_t kBiased[16] = {1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241};
    return Rows::look_up(kBiased, this->nibbles(i));
  }
};

template <class Rows>
struct Q80Block {
  using Word = typename Rows::Word;
  static constexpr int kBytes = 34;

  PAGODA_INLINE explicit Q80Block(const Rows& rows) {
    load_words(rows, 0, head);
    load_words(rows, 2, quants);
  }
  PAGODA_INLINE Word operand(int, int i) const { return quants[i] ^ 0x80808080; }
  PAGODA_INLINE Word d() const { return head[0]; }

  Word head[4];
  Word quants[8];
};

// 128 elements share 32 bytes, shift 0, 2, 4, 6 for each run of 32.
template <class Word>
PAGODA_INLINE Word two_bits(const Word (&words)[16], int run, int i) {
  return words[run / 4 * 8 + i] >> (run % 4 * 2) & kLow2;
}

template <class Rows>
struct Q2KBlock {
  using Word = typename Rows::Word;
  static constexpr int kBytes = 84;

  PAGODA_INLINE explicit Q2KBlock(const Rows& rows) {
    load_words(rows, 0, sub_blocks);
    load_words(rows, 16, quants);
    load_words(rows, 68, tail);
  }
  PAGODA_INLINE Word operand(int run, int i) const { return two_bits(quants, run, i); }
  PAGODA_INLINE Word d() const { return tail[3]; }
  PAGODA_INLINE Word dmin() const { return tail[3] >> 16; }
  PAGODA_INLINE Word scales(int j) const { return sub_blocks[j] & kLow4; }
  PAGODA_INLINE Word mins(int j) const { return sub_blocks[j] >> 4 & kLow4; }

  Word sub_blocks[4];
  Word quants[16];
  Word tail[4];
};

// True quants are two bits plus 4 times the high bit, minus 4; the zero point of 6-bit packed quants is 32.
template <class Rows>
struct Q3KBlock {
  using Word = typename Rows::Word;
  static constexpr int kBytes = 110;

  PAGODA_INLINE explicit Q3KBlock(const Rows& rows) {
    load_words(rows, 0, high);
    load_words(rows, 32, quants);
    load_words(rows, 94, tail);
    PAGODA_UNROLL for (int i = 0; i < 3; ++i) packed_scales[i] = straddling(tail[i], tail[i + 1]);
  }
  PAGODA_INLINE Word operand(int run, int i) const {
    return two_bits(quants, run, i) + ((high[i] >> run & kLow1) << 2) + (32 - 4) * kLow1;
  }
  PAGODA_INLINE Word d() const { return tail[3] >> 16; }
  // 6 bits minus 32: the highest one inverted is the sign.
  PAGODA_INLINE Word scales(int j) const {
    const Word low = (j < 2 ? packed_scales[j] : packed_scales[j - 2] >> 4) & kLow4;
    const Word biased = low | (packed_scales[2] >> (2 * j) & kLow2) << 4;
    const Word sign = (biased & 0x20202020) ^ 0x20202020;
    return (biased & 0x1f1f1f1f) | sign | sign << 1 | sign << 2;
  }

  Word high[8];
  Word quants[16];
  Word tail[4];
  Word packed_scales[3];
};

// Eight 6-bit scales and mins in 12 bytes; 64 elements share 32 bytes of nibbles.
template <class Rows, int kHasFifthBits>
struct K4Block {
  using Word = typename Rows::Word;
  static constexpr int kQuants = 16 + 32 * kHasFifthBits;
  static constexpr int kBytes = kQuants + 128;

  PAGODA_INLINE explicit K4Block(const Rows& rows) {
    load_words(rows, 0, head);
    if constexpr (kHasFifthBits) load_words(rows, 16, fifth_bits);
    load_words(rows, kQuants, quants);
  }
  PAGODA_INLINE Word operand(int run, int i) const {
    const Word nibbles = quants[run / 2 * 8 + i] >> (run % 2 * 4) & kLow4;
    if constexpr (kHasFifthBits)
      return nibbles | (fifth_bits[i] >> run & kLow1) << 4;
    else
      return nibbles;
  }
  PAGODA_INLINE Word d() const { return head[0]; }
  PAGODA_INLINE Word dmin() const { return head[0] >> 16; }
  PAGODA_INLINE Word scales(int j) const {
    return j == 0 ? head[1] & kLow6 : (head[3] & kLow4) | (head[1] >> 6 & kLow2) << 4;
  }
  PAGODA_INLINE Word mins(int j) const {
    return j == 0 ? head[2] & kLow6 : (head[3] >> 4 & kLow4) | (head[2] >> 6 & kLow2) << 4;
  }

  Word head[4];
  Word fifth_bits[8];
  Word quants[32];
};

template <class Rows>
struct Q6KBlock {
  using Word = typename Rows::Word;
  static constexpr int kBytes = 210;

  PAGODA_INLINE explicit Q6KBlock(const Rows& rows) {
    load_words(rows, 0, low);
    load_words(rows, 128, high);
    load_words(rows, 192, sub_blocks);
    load_words(rows, 194, tail);
  }
  PAGODA_INLINE Word operand(int run, int i) const {
    const Word nibbles = low[run / 4 * 16 + run % 2 * 8 + i] >> (run % 4 / 2 * 4) & kLow4;
    return nibbles | two_bits(high, run, i) << 4;
  }
  PAGODA_INLINE Word d() const { return tail[3] >> 16; }
  PAGODA_INLINE Word scales(int j) const { return sub_blocks[j]; }

  Word low[32];
  Word high[16];
  Word sub_blocks[4];
  Word tail[4];
};

// Calls visit.template operator()<StoredBlock, PackedFormat>() with the types of a quantised format.
template <class Rows, class Visit>
PAGODA_INLINE void visit_stored_block(DType dtype, Visit visit) {
  switch (dtype) {
    case DType::q4_0:
      return visit.template operator()<NibbleBlock<Rows, 0, 0>, packed_format(DType::q4_0)>();
    case DType::q4_1:
      return visit.template operator()<NibbleBlock<Rows, 1, 0>, packed_format(DType::q4_1)>();
    case DType::q5_0:
      return visit.template operator()<NibbleBlock<Rows, 0, 1>, packed_format(DType::q5_0)>();
    case DType::q5_1:
      return visit.template operator()<NibbleBlock<Rows, 1, 1>, packed_format(DType::q5_1)>();
    case DType::q8_0:
      return visit.template operator()<Q80Block<Rows>, packed_format(DType::q8_0)>();
    case DType::iq4_nl:
      return visit.template operator()<Iq4NlBlock<Rows>, packed_format(DType::iq4_nl)>();
    case DType::q2_k:
      return visit.template operator()<Q2KBlock<Rows>, packed_format(DType::q2_k)>();
    case DType::q3_k:
      return visit.template operator()<Q3KBlock<Rows>, packed_format(DType::q3_k)>();
    case DType::q4_k:
      return visit.template operator()<K4Block<Rows, 0>, packed_format(DType::q4_k)>();
    case DType::q5_k:
      return visit.template operator()<K4Block<Rows, 1>, packed_format(DType::q5_k)>();
    case DType::q6_k:
      return visit.template operator()<Q6KBlock<Rows>, packed_format(DType::q6_k)>();
    case DType::f32:
    case DType::f16:
    case DType::bf16:
      return;
  }
}

}  // namespace
}  // namespace pagoda
