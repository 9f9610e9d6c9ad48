// Byte layouts shared by the packer and by the bodies of all ISAs: packed weights ("R16") and quantised
// activations.
//
// A weight group is 16 rows; lane r (32 bits) of a 64-byte vector belongs to row r and holds 4 consecutive k.
// 32 consecutive k are 8 operands o = 0..7 of such vectors: byte j of lane r of operand o is q[r][4 * o + j],
// unsigned (signed formats are stored as q + zero point). Operands are packed by `bits` into 64 * bits bytes,
// so that unpacking takes only shifts, ands and ors of whole vectors (v = packed vector, o = operand,
// [a:b] = bits a down to b):
//
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
//   f32 f16        [k][16]
//   bf16           [k / 2][16][2], the last pair filled up with 0
//   bf16, palette  uint8[64]: the exponents of all weights of the group, at most 32, then 0; then runs of 12
//   k,
//                  the last filled up with 0:
//                    uint32[3][16]     signs and mantissas of pairs of k 2j and 2j+1, drawn at pack_pairs()
//                    uint16[2][16][2]  places in the palette: of pair 3j+i in bits [5i+4:5i]
//
// Everything here has internal linkage: these files are compiled with different instruction sets.
#pragma once

#include <cstddef>
#include <cstdint>

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
};

inline constexpr PackedFormat kPackedQ40 = {4, 32, 32, 8, 0};
inline constexpr PackedFormat kPackedQ41 = {4, 32, 32, 0, 1};
inline constexpr PackedFormat kPackedQ50 = {5, 32, 32, 16, 0};
inline constexpr PackedFormat kPackedQ51 = {5, 32, 32, 0, 1};
inline constexpr PackedFormat kPackedQ80 = {8, 32, 32, 128, 0};  // also iq4_nl, table applied
inline constexpr PackedFormat kPackedQ2K = {4, 256, 16, 0, 1};
inline constexpr PackedFormat kPackedQ4K = {4, 256, 32, 0, 1};
inline constexpr PackedFormat kPackedQ5K = {5, 256, 32, 0, 1};
inline constexpr PackedFormat kPackedQ6K = {6, 256, 16, 32, 0};  // also q3_k

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

// How pairs of k of bf16 weights lie in a group: runs of vectors behind a header.
struct Bf16Layout {
  int header_bytes;
  int run_vectors;  // of 16 rows and a pair of k each
  int run_bytes;
  int codes;  // offset in a run
};
constexpr Bf16Layout bf16_layout(Packing packing) {
  return packing == Packing::palette ? Bf16Layout{64, 6, 320, 192} : Bf16Layout{0, 1, 64, 0};
}
inline constexpr int kPaletteSize = 32;
inline constexpr int kCodeBits = 5;
inline constexpr int kCodesPerWord = 3;
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

// The bits of weight (row, k) of a group.
inline uint16_t packed_bf16(Packing packing, const uint8_t* group, int64_t k, int row) {
  const Bf16Layout layout = bf16_layout(packing);
  const int64_t vector = k / 2;
  const int odd = static_cast<int>(k % 2);
  const uint8_t* run = group + layout.header_bytes + vector / layout.run_vectors * layout.run_bytes;
  const int i = static_cast<int>(vector % layout.run_vectors);
  uint32_t lane;
  __builtin_memcpy(&lane, run + 64 * (i / 2) + 4 * row, sizeof lane);
  if (packing == Packing::plain) return static_cast<uint16_t>(lane >> 16 * odd);
  if (i % 2 != 0) lane = lane << kPairRotation | lane >> (32 - kPairRotation);
  uint16_t codes;
  __builtin_memcpy(&codes, run + layout.codes + 64 * (i / kCodesPerWord) + 4 * row + 2 * odd, sizeof codes);
  const int place = codes >> kCodeBits * (i % kCodesPerWord) & (kPaletteSize - 1);
  return static_cast<uint16_t>((lane & kSignsAndMantissas) >> 16 * odd | group[place] << kExponentShift);
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
