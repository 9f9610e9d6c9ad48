// Byte layouts shared by the packer and by the bodies of all ISAs: packed weights ("R16") and quantised
// activations.
//
// A weight group is 16 rows; lane r (32 bits) of a 64-byte vector belongs to row r and holds 4 consecutive k.
// 32 consecutive k are 8 operands o = 0..7 of such vectors: byte j of lane r of operand o is q[r][4 * o + j],
// unsigned (signed formats are stored as q + zero point). Operands are packed by `bits` into 64 * bits bytes,
// so that unpacking takes only shifts, ands and ors of whole vectors (v = packed vector, o = operand,
// [a:b] = bits a down to b):
//
//   2 bits   v[h] = o[4h] | o[4h+1] << 2 | o[4h+2] << 4 | o[4h+3] << 6   h = 0..1
//   3 bits   v[i] = o[2i] | o[2i+1] << 3 | o6[i] << 6 | o7[i] << 7       i = 0..2
//   4 bits   v[g] = o[2g] | o[2g+1] << 4                       g = 0..3
//   5 bits   v[i] = o[i] | extra << 5, where extra of i = 0..4 is
//            o5[2:0], {o5[4:3], o7[3]}, o6[2:0], {o6[4:3], o7[4]}, o7[2:0]
//   6 bits   v[3h+i] = o[4h+i] | o[4h+3][2i+1:2i] << 6         h = 0..1, i = 0..2
//   8 bits   v[o] = o[o]
//
// The group's blocks follow each other, k ascending, headers first, so that one pass over k is one pass over
// memory:
//
//   block of 32    d f16[16]; with mins: m f16[16]; quants
//   block of 256   scales int8[256 / sub_length][16]; mins; d f16[16]; dmin f16[16] or padding;
//                  quants of 8 x 32 k
//   mins           sub_length 32: uint8[4][16][2], pairs of neighbouring sub-blocks
//                  sub_length 16: uint8[16][16]
//   outline        the same blocks with fewer bits, then, at the next 64 bytes, f32[16], the rows' errors
//   details        quants of all blocks
//   f32 f16        [k][16]
//   bf16           [k / 2][16][2], the last pair filled up with 0
//   bf16, palette  two parts of 16 rows; B blocks of 64 k, the last filled up with 0
//                    uint8[B][2][16]   palettes: the exponents of a block and a part, at most 16, then 0
//                    uint32[...]       weights whose exponent their palette has not, k ascending by blocks,
//                                      as exception_of() has them; then kNoException, at least once
//                    runs of 8 k, in each first those of one part, then of the other:
//                    uint32[2][16]     signs and mantissas of pairs of k 2j and 2j+1, drawn at pack_pairs()
//                    uint16[16][2]     places in the palette: of pair i in bits [4i+3:4i]
//
// Everything here has internal linkage: these files are compiled with different instruction sets.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/isa/unroll.h"
#include "kernels/linear.h"
#include "tensor/dtype.h"

namespace pagoda {
namespace {

// How a quantised format is stored when packed. Formats with the same meaning share one.
struct PackedFormat {
  int bits;          // of an unsigned quant
  int block_length;  // 32 or 256
  int sub_length;    // elements that share an integer scale; block_length where there is none
  int zero_point;    // stored minus true quant
  int has_min;       // 1: a second scale multiplies the sum of the activations
  int detail_bits;   // of an outline: that are elsewhere, below `bits`. The zero point is that of all bits.
  int has_details;   // 1: these are read, too; else half of what they may be stands for them

  // Of what products are computed with.
  constexpr int operand_bits() const { return bits + detail_bits; }
  constexpr int middle() const { return 1 << detail_bits >> 1; }
};

inline constexpr PackedFormat kPackedQ40 = {4, 32, 32, 8, 0, 0, 0};
inline constexpr PackedFormat kPackedQ41 = {4, 32, 32, 0, 1, 0, 0};
inline constexpr PackedFormat kPackedQ50 = {5, 32, 32, 16, 0, 0, 0};
inline constexpr PackedFormat kPackedQ51 = {5, 32, 32, 0, 1, 0, 0};
inline constexpr PackedFormat kPackedQ80 = {8, 32, 32, 128, 0, 0, 0};  // also iq4_nl, table applied
inline constexpr PackedFormat kPackedQ2K = {4, 256, 16, 0, 1, 0, 0};
inline constexpr PackedFormat kPackedQ4K = {4, 256, 32, 0, 1, 0, 0};
inline constexpr PackedFormat kPackedQ5K = {5, 256, 32, 0, 1, 0, 0};
inline constexpr PackedFormat kPackedQ6K = {6, 256, 16, 32, 0, 0, 0};  // also q3_k
inline constexpr PackedFormat kOutlineQ80 = {5, 32, 32, 128, 0, 3, 0};
inline constexpr PackedFormat kOutlineQ6K = {4, 256, 16, 32, 0, 2, 0};
inline constexpr PackedFormat kJoinedQ80 = {5, 32, 32, 128, 0, 3, 1};
inline constexpr PackedFormat kJoinedQ6K = {4, 256, 16, 32, 0, 2, 1};

constexpr PackedFormat packed_format(DType dtype) {
  switch (dtype) {
    case DType::q4_0:
      return kPackedQ40;
    case DType::q4_1:
      return kPackedQ41;
    case DType::q5_0:
      return kPackedQ50;
    case DType::q5_1:
      return kPackedQ51;
    case DType::q2_k:
      return kPackedQ2K;
    case DType::q4_k:
      return kPackedQ4K;
    case DType::q5_k:
      return kPackedQ5K;
    case DType::q3_k:
    case DType::q6_k:
      return kPackedQ6K;
    default:
      return kPackedQ80;
  }
}

constexpr PackedFormat outline_format(DType dtype) {
  return dtype == DType::q6_k ? kOutlineQ6K : kOutlineQ80;
}
// Wider matrices are packed plainly: two groups have room where weights are unpacked.
inline constexpr int64_t kMaxOutlineCols = 8192;

// Low bits of each of the 4 bytes of a word.
inline constexpr uint32_t kLow1 = 0x01010101;
inline constexpr uint32_t kLow2 = 0x03030303;
inline constexpr uint32_t kLow3 = 0x07070707;
inline constexpr uint32_t kLow4 = 0x0f0f0f0f;
inline constexpr uint32_t kLow5 = 0x1f1f1f1f;
inline constexpr uint32_t kLow6 = 0x3f3f3f3f;

// The operands that v, as drawn above, is packed from. A Word has 4 quants of a row, or of several, and the
// operators of uint32_t.
template <int kBits, class Word>
PAGODA_INLINE void unpack_operands(const Word* v, Word (&o)[8]) {
  if constexpr (kBits == 2) {
    PAGODA_UNROLL for (int i = 0; i < 8; ++i) o[i] = v[i / 4] >> (i % 4 * 2) & kLow2;
  } else if constexpr (kBits == 3) {
    PAGODA_UNROLL for (int i = 0; i < 6; ++i) o[i] = v[i / 2] >> (i % 2 * 3) & kLow3;
    PAGODA_UNROLL for (int i = 6; i < 8; ++i) o[i] =
        (v[0] >> i & kLow1) | (v[1] >> i & kLow1) << 1 | (v[2] >> i & kLow1) << 2;
  } else if constexpr (kBits == 4) {
    PAGODA_UNROLL for (int i = 0; i < 8; ++i) o[i] = v[i / 2] >> (i % 2 * 4) & kLow4;
  } else if constexpr (kBits == 5) {
    PAGODA_UNROLL for (int i = 0; i < 5; ++i) o[i] = v[i] & kLow5;
    o[5] = (v[0] >> 5 & kLow3) | (v[1] >> 3 & 0x18181818);
    o[6] = (v[2] >> 5 & kLow3) | (v[3] >> 3 & 0x18181818);
    o[7] = (v[4] >> 5 & kLow3) | (v[1] >> 2 & 0x08080808) | (v[3] >> 1 & 0x10101010);
  } else if constexpr (kBits == 6) {
    PAGODA_UNROLL for (int h = 0; h < 2; ++h) {
      PAGODA_UNROLL for (int i = 0; i < 3; ++i) o[4 * h + i] = v[3 * h + i] & kLow6;
      o[4 * h + 3] =
          (v[3 * h] >> 6 & kLow2) | (v[3 * h + 1] >> 4 & 0x0c0c0c0c) | (v[3 * h + 2] >> 2 & 0x30303030);
    }
  } else {
    PAGODA_UNROLL for (int i = 0; i < 8; ++i) o[i] = v[i];
  }
}

// Offsets in a packed block, in bytes.
struct BlockLayout {
  int scales;  // of sub-blocks
  int mins;
  int d;
  int dmin;
  int quants;
  int bytes;
};

constexpr BlockLayout block_layout(PackedFormat f) {
  BlockLayout at = {};
  if (f.block_length == 256) {
    const int table = 256 / f.sub_length * 16;
    at.mins = table;
    at.d = at.mins + table * f.has_min;
    at.dmin = at.d + 32;
    at.quants = at.d + 64;
  } else {
    at.dmin = 32;
    at.quants = 32 + 32 * f.has_min;
  }
  at.bytes = at.quants + f.block_length / 32 * 64 * f.bits;
  return at;
}

inline constexpr int kVectorBytes = 64;  // 4 consecutive k of 8 bits, or 2 of 16, of 16 rows

// Of an outline, where the rows' errors are; the gap before them is zeros.
inline constexpr int64_t kErrorsBytes = kRowsPerGroup * sizeof(float);
constexpr int64_t errors_offset(PackedFormat outline, int64_t num_blocks) {
  return (num_blocks * block_layout(outline).bytes + 63) / 64 * 64;
}
// Of an outline's block.
constexpr int block_details_bytes(PackedFormat outline) {
  return outline.block_length / 32 * kVectorBytes * outline.detail_bits;
}

// bf16 weights with palettes.
inline constexpr int kPaletteParts = 2;  // of a group
inline constexpr int kPaletteSize = 16;
inline constexpr int kPaletteBlockCols = 64;
inline constexpr int kPaletteBlockVectors = kPaletteBlockCols / 2;
inline constexpr int kCodeBits = 4;
// Of a run and a part.
inline constexpr int kRunVectors = 4;
inline constexpr int kRunCodes = kRunVectors / 2 * kVectorBytes;  // offset
inline constexpr int kRunPartBytes = kRunCodes + kVectorBytes;
inline constexpr int kPaletteRunBytes = kPaletteParts * kRunPartBytes;
inline constexpr int kBlockRuns = kPaletteBlockVectors / kRunVectors;

// Offsets in a group.
struct PaletteLayout {
  int64_t exceptions;
  int64_t runs;
  int64_t bytes;

  constexpr int64_t num_exceptions() const {  // for which there is room
    return (runs - exceptions) / static_cast<int64_t>(sizeof(uint32_t)) - 1;
  }
};
constexpr PaletteLayout palette_layout(int64_t num_cols) {
  constexpr int64_t kRunCols = 2 * kRunVectors;
  constexpr int64_t kExceptionsPerBlock = 2;
  const int64_t num_blocks = (num_cols + kPaletteBlockCols - 1) / kPaletteBlockCols;
  PaletteLayout at = {};
  at.exceptions = num_blocks * kPaletteParts * kPaletteSize;
  at.runs = (at.exceptions + num_blocks * kExceptionsPerBlock * 4 + 63) / 64 * 64;
  at.bytes = at.runs + (num_cols + kRunCols - 1) / kRunCols * kPaletteRunBytes;
  return at;
}

// A weight (row, k) of a group with its exponent.
constexpr uint32_t exception_of(int64_t k, int row, int exponent) {
  return static_cast<uint32_t>(k) << 13 | static_cast<uint32_t>(row) << 8 | static_cast<uint32_t>(exponent);
}
inline constexpr uint32_t kNoException = 0xffffffff;
inline constexpr int64_t kMaxPaletteCols = (int64_t{1} << 19) - kPaletteBlockCols;
struct PaletteException {
  int64_t k;
  int row;
  int exponent;

  PAGODA_INLINE explicit PaletteException(const uint8_t* at) {
    uint32_t word;
    __builtin_memcpy(&word, at, sizeof word);
    k = word >> 13;
    row = static_cast<int>(word >> 8 & 31);
    exponent = static_cast<int>(word & 0xff);
  }
  PAGODA_INLINE int64_t block() const { return k / kPaletteBlockCols; }
};

// Of a lane with a pair of bf16.
inline constexpr uint32_t kSignsAndMantissas = 0x807f807f;
inline constexpr int kExponentShift = 7;

// Two pairs share a lane: what kSignsAndMantissas leaves of the second fits the gaps of the first once it is
// rotated (s, m: sign and mantissa; 0, 1: the even and the odd k of a pair).
//
//   bits  31  30…24  23  22…16  15  14…8  7  6…0
//   even   s1         .   m1     s0         .  m0
//   odd    .   m0    s1          .   m1    s0
inline constexpr int kPairRotation = 8;
constexpr uint32_t pack_pairs(uint32_t even, uint32_t odd) {
  const uint32_t rest = odd & kSignsAndMantissas;
  return (even & kSignsAndMantissas) | rest >> kPairRotation | rest << (32 - kPairRotation);
}

// The bits of weight (row, k) of a group of so many columns; k may be one more if these are odd.
inline uint16_t packed_bf16(Packing packing, const uint8_t* group, int64_t num_cols, int64_t k, int row) {
  const int odd = static_cast<int>(k % 2);
  const auto lane_at = [](const uint8_t* vector, int lane) {
    uint32_t bits;
    __builtin_memcpy(&bits, vector + 4 * lane, sizeof bits);
    return bits;
  };
  if (packing == Packing::plain)
    return static_cast<uint16_t>(lane_at(group + k / 2 * kVectorBytes, row) >> 16 * odd);
  const PaletteLayout at = palette_layout(num_cols);
  const int part = row / static_cast<int>(kRowsPerGroup);
  const int lane = row % static_cast<int>(kRowsPerGroup);
  const int i = static_cast<int>(k / 2 % kRunVectors);
  const uint8_t* run =
      group + at.runs + k / (2 * kRunVectors) * kPaletteRunBytes + int64_t{part} * kRunPartBytes;
  uint32_t pair = lane_at(run + i / 2 * kVectorBytes, lane);
  if (i % 2 != 0) pair = pair << kPairRotation | pair >> (32 - kPairRotation);
  const uint32_t place = lane_at(run + kRunCodes, lane) >> (16 * odd + kCodeBits * i) & (kPaletteSize - 1);
  const int64_t block = k / kPaletteBlockCols;
  int exponent = group[(block * kPaletteParts + part) * kPaletteSize + place];
  const uint8_t* exceptions = group + at.exceptions;
  for (PaletteException e(exceptions); e.block() <= block;
       e = PaletteException(exceptions += sizeof(uint32_t)))
    if (e.k == k && e.row == row) exponent = e.exponent;
  return static_cast<uint16_t>((pair & kSignsAndMantissas) >> 16 * odd | exponent << kExponentShift);
}

// Activations in blocks of 32: 52 bytes. The products of the sum with each negated zero point start integer
// dot products that use the unsigned quants.
struct Activation32 {
  int8_t q[32];
  float scale;
  float scaled_sum;  // scale times the sum of q
  int32_t minus_8_sum;
  int32_t minus_16_sum;
  int32_t minus_128_sum;
};
static_assert(sizeof(Activation32) == 52);

// Where the start of the integer sums lies, for formats with a zero point.
template <PackedFormat kFormat>
constexpr int zero_point_offset() {
  switch (kFormat.zero_point) {
    case 8:
      return offsetof(Activation32, minus_8_sum);
    case 16:
      return offsetof(Activation32, minus_16_sum);
    default:
      return offsetof(Activation32, minus_128_sum);
  }
}

// Activations in blocks of 256: 340 bytes. Each run of 32 carries the sums of its halves, times -32, which
// start the integer dot products of 6-bit weights.
struct Activation256 {
  struct Run {
    int8_t q[32];
    int32_t minus_32_sums16[2];
  };
  Run runs[8];
  float scale;
  int16_t sums32[8];
};
static_assert(sizeof(Activation256) == 340);

}  // namespace
}  // namespace pagoda
