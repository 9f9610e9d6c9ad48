// Packing::outline for as many rows at a time as a `Rows` has (stored_block.h): weights to outlines with
// their rows' errors and to details, and back. Internal linkage, as in linear_layout.h.
//
// ERRORS. Let w be the weights of a row, v what the outline has instead of them, x the activations, all as
// real numbers. The exact results of both chains of `linear` differ by (w - v) * x, at most |w - v| * |x|
// (Cauchy and Schwarz). Each chain rounds a block's product three times at most and a sum of up to
// num_blocks of them, which takes it from its exact result by less than (num_blocks + 3) * 2^-24 times the
// sum of the products' magnitudes, that is at most |w| * |x| (or |v| * |x|, and |v| <= |w| + |w - v|). So the
// error of a row is |w - v| + (num_blocks + 3) * 2^-24 * (2 |w| + |w - v|), where |w| is taken as if every
// quant were the farthest from 0.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/isa/pack_body.h"
#include "kernels/isa/prefetch_lines.h"

namespace pagoda {
namespace {

// The errors of a group's rows.
class OutlineErrors {
 public:
  // Of block b's rows from `first` on, a lane each: f16 bits of d in the low halves, the sums over the block
  // of squared differences and of squared scales of sub-blocks, both in units of d^2.
  template <class Word>
  PAGODA_INLINE void add(int first, const Word& d, const Word& differences, const Word& scales) {
    constexpr int kNum = sizeof(Word) / sizeof(uint32_t);
    uint32_t bits[kNum];
    uint32_t squares[2][kNum];
    __builtin_memcpy(bits, &d, sizeof d);
    __builtin_memcpy(squares[0], &differences, sizeof differences);
    __builtin_memcpy(squares[1], &scales, sizeof scales);
    for (int i = 0; i < kNum; ++i) {
      const float magnitude = magnitude_of_f16(bits[i]);
      const float factor = magnitude * magnitude;
      differences_[first + i] += factor * static_cast<float>(static_cast<int32_t>(squares[0][i]));
      scales_[first + i] += factor * static_cast<float>(static_cast<int32_t>(squares[1][i]));
    }
  }
  // outline: of the group.
  template <PackedFormat kOutline>
  PAGODA_INLINE void store(int64_t num_blocks, uint8_t* outline) const {
    constexpr float kFarthest = static_cast<float>(kOutline.zero_point);
    constexpr float kRoot = kOutline.sub_length == 16 ? 4.0f : 5.6569f;  // of sub_length
    static_assert(kOutline.sub_length == 16 || kOutline.sub_length == 32);
    const float rounding = static_cast<float>(num_blocks + 3) * 0x1p-24f;
    const int64_t end = num_blocks * block_layout(kOutline).bytes;
    const int64_t at = errors_offset(kOutline, num_blocks);
    __builtin_memset(outline + end, 0, static_cast<size_t>(at - end));
    for (int r = 0; r < kRowsPerGroup; ++r) {
      const float difference = __builtin_sqrtf(differences_[r]);
      const float weights = kFarthest * kRoot * __builtin_sqrtf(scales_[r]);
      // The factor is more than what all roundings of these sums take away.
      const float error = (difference + rounding * (2.0f * weights + difference)) * 1.0001f;
      __builtin_memcpy(outline + at + static_cast<int64_t>(sizeof error) * r, &error, sizeof error);
    }
  }

 private:
  // Written without branches, for vectors. Infinity and NaN give infinity.
  PAGODA_INLINE static float magnitude_of_f16(uint32_t half) {
    const float finite = __builtin_bit_cast(float, (half & 0x7fff) << 13) * 0x1p112f;
    return (half & 0x7c00) == 0x7c00 ? __builtin_inff() : finite;
  }

  float differences_[kRowsPerGroup] = {};
  float scales_[kRowsPerGroup] = {};
};

// What details of 0 to 2^detail_bits - 1 differ from their middle, squared.
template <PackedFormat kOutline>
struct SquaredDifferences {
  uint8_t of[16] = {};
  constexpr SquaredDifferences() {
    for (int detail = 0; detail < 2 * kOutline.middle(); ++detail) {
      const int difference = detail - kOutline.middle();
      of[detail] = static_cast<uint8_t>(difference * difference);
    }
  }
};

// Sums over the four bytes of each lane.
template <class Word>
PAGODA_INLINE Word sum_bytes(const Word& word) {
  const Word pairs = (word & 0x00ff00ff) + (word >> 8 & 0x00ff00ff);
  return (pairs & 0xffff) + (pairs >> 16);
}

// Byte j of each lane as a signed number, squared.
template <class Word>
PAGODA_INLINE Word squared_byte(const Word& word, int j) {
  const Word byte = word >> (8 * j) & 0xff;
  const Word extended = (byte ^ 0x80) - 0x80;  // its square is right in two's complement, too
  return extended * extended;
}

// A block of the rows from `first` on.
template <PackedFormat kWhole, PackedFormat kOutline, class Rows, class Block>
PAGODA_INLINE void pack_outline_block(const Rows& rows, int first, const Block& block, OutlineErrors& errors,
                                      uint8_t* outline, uint8_t* details) {
  using Word = typename Rows::Word;
  static constexpr SquaredDifferences<kOutline> kSquares;
  constexpr BlockLayout kAt = block_layout(kOutline);
  constexpr int kBits = kOutline.bits;
  constexpr int kDetailBits = kOutline.detail_bits;
  constexpr uint32_t kOutlineMask = ((1u << kBits) - 1) * kLow1;
  constexpr uint32_t kDetailMask = ((1u << kDetailBits) - 1) * kLow1;
  constexpr int kOperandsPerScale = kOutline.sub_length / 4;
  pack_header<kWhole>(rows, block, outline);
  Word differences = {};
  Word scales = {};
  PAGODA_UNROLL for (int run = 0; run < kOutline.block_length / 32; ++run) {
    Word upper[8];
    Word lower[8];
    PAGODA_UNROLL for (int i = 0; i < 8; ++i) {
      const Word operand = block.operand(run, i);
      upper[i] = operand >> kDetailBits & kOutlineMask;
      lower[i] = operand & kDetailMask;
    }
    PAGODA_UNROLL for (int i = 0; i < 8; i += kOperandsPerScale) {
      Word squares = {};
      PAGODA_UNROLL for (int o = i; o < i + kOperandsPerScale; ++o) squares +=
          Rows::look_up(kSquares.of, lower[o]);
      Word scale = Word{} + 1u;
      if constexpr (kOutline.block_length == 256) {
        const int sub = (8 * run + i) / kOperandsPerScale;
        scale = squared_byte(Word(block.scales(sub / 4)), sub % 4);
      }
      differences += scale * sum_bytes(squares);
      scales += scale;
    }
    pack_run<kBits>(rows, upper, outline + kAt.quants + 64 * kBits * run);
    pack_run<kDetailBits>(rows, lower, details + 64 * kDetailBits * run);
  }
  errors.add(first, Word(block.d()), differences, scales);
}

// Calls visit.template operator()<StoredBlock, PackedFormat, PackedFormat of the outline>().
template <class Rows, class Visit>
PAGODA_INLINE void visit_outlined(DType dtype, Visit visit) {
  if (dtype == DType::q6_k)
    visit.template operator()<Q6KBlock<Rows>, kPackedQ6K, kOutlineQ6K>();
  else
    visit.template operator()<Q80Block<Rows>, kPackedQ80, kOutlineQ80>();
}

// LinearKernels::pack_outline. Null rows as in pack_blocks_of().
template <class Rows>
PAGODA_INLINE void pack_outline_of(DType dtype, const std::byte* const* rows, int64_t num_blocks,
                                   std::byte* outline, std::byte* details) {
  for (int r = 0; r < 16; ++r)
    if (rows[r] == nullptr) return isa_scalar::pack_outline(dtype, rows, num_blocks, outline, details);
  visit_outlined<Rows>(
      dtype, [&]<class Block, PackedFormat kWhole, PackedFormat kOutline>() PAGODA_INLINE_LAMBDA {
        auto* upper = reinterpret_cast<uint8_t*>(outline);
        auto* lower = reinterpret_cast<uint8_t*>(details);
        OutlineErrors errors;
        for (int64_t b = 0; b < num_blocks; ++b) {
          for (int first = 0; first < 16; first += Rows::kNum) {
            const Rows place(rows, first, b * Block::kBytes);
            pack_outline_block<kWhole, kOutline>(place, first, Block(place), errors, upper, lower);
          }
          upper += block_layout(kOutline).bytes;
          lower += block_details_bytes(kOutline);
        }
        errors.store<kOutline>(num_blocks, reinterpret_cast<uint8_t*>(outline));
      });
}

// The whole quants of 32 k, packed as kPackedQ80 is, from those of an outline and its details. What
// pack_vectors() has put side by side is moved to its place by shifts alone, and Rows::select(mask, a, b),
// the bits of a where the mask has them and else those of b, drops what the shifts drag along.
template <class Rows, class Word, class Store>
PAGODA_INLINE void join_run(const Word (&v)[5], const Word (&d)[3], Store store) {
  const auto select = [](uint32_t byte, const Word& x, const Word& y)
                          PAGODA_INLINE_LAMBDA { return Rows::select(byte * kLow1, x, y); };
  PAGODA_UNROLL for (int i = 0; i < 5; ++i) store(i, select(0xf8, v[i] << 3, d[i / 2] >> (i % 2 * 3)));
  store(5, select(0xf8, select(0xc0, v[1], v[0] >> 2), d[2] >> 3));
  const auto bits = [&](int i) PAGODA_INLINE_LAMBDA {
    return select(1, d[0] >> i, select(2, d[1] >> (i - 1), d[2] >> (i - 2)));
  };
  store(6, select(0xf8, select(0xc0, v[3], v[2] >> 2), bits(6)));
  store(7, select(0xf8, select(0x80, v[3] << 2, select(0x40, v[1] << 1, v[4] >> 2)), bits(7)));
}

// The same for kPackedQ6K.
template <class Rows, class Word, class Store>
PAGODA_INLINE void join_run(const Word (&v)[4], const Word (&d)[2], Store store) {
  const auto select = [](uint32_t byte, const Word& x, const Word& y)
                          PAGODA_INLINE_LAMBDA { return Rows::select(byte * kLow1, x, y); };
  PAGODA_UNROLL for (int h = 0; h < 2; ++h) {
    // Two bits too many each, which the next step drops.
    Word o[4];
    PAGODA_UNROLL for (int i = 0; i < 4; ++i) {
      const Word& upper = v[2 * h + i / 2];
      o[i] = select(0x3c, i % 2 == 0 ? upper << 2 : upper >> 2, d[h] >> (2 * i));
    }
    PAGODA_UNROLL for (int i = 0; i < 3; ++i) store(3 * h + i, select(0x3f, o[i], o[3] << (6 - 2 * i)));
  }
}

template <PackedFormat kWhole, PackedFormat kOutline, class Rows>
PAGODA_INLINE void join_block(const uint8_t* outline, const uint8_t* details, uint8_t* out) {
  using Word = typename Rows::Word;
  constexpr BlockLayout kAt = block_layout(kOutline);
  constexpr int kDetailBits = kOutline.detail_bits;
  static_assert(kAt.quants == block_layout(kWhole).quants);
  __builtin_memcpy(out, outline, kAt.quants);
  const uint8_t* upper = outline + kAt.quants;
  uint8_t* to = out + kAt.quants;
  for (int run = 0; run < kOutline.block_length / 32; ++run) {
    PAGODA_UNROLL for (int lane = 0; lane < kVectorBytes; lane += static_cast<int>(sizeof(Word))) {
      Word v[kOutline.bits];
      Word d[kDetailBits];
      PAGODA_UNROLL for (int i = 0; i < kOutline.bits; ++i)
          __builtin_memcpy(v + i, upper + 64 * i + lane, sizeof(Word));
      PAGODA_UNROLL for (int i = 0; i < kDetailBits; ++i)
          __builtin_memcpy(d + i, details + 64 * i + lane, sizeof(Word));
      join_run<Rows>(v, d, [=](int vector, const Word& word) PAGODA_INLINE_LAMBDA {
        __builtin_memcpy(to + 64 * vector + lane, &word, sizeof word);
      });
    }
    upper += 64 * kOutline.bits;
    details += 64 * kDetailBits;
    to += 64 * kWhole.bits;
  }
}

// LinearKernels::join_outline. Both streams are read a group at a time, which processors do not foresee.
template <class Rows>
PAGODA_INLINE void join_outline_of(DType dtype, const std::byte* outline, const std::byte* details,
                                   int64_t num_blocks, std::byte* out) {
  visit_outlined<Rows>(dtype,
                       [&]<class Block, PackedFormat kWhole, PackedFormat kOutline>() PAGODA_INLINE_LAMBDA {
                         constexpr int kBytes = block_layout(kOutline).bytes;
                         constexpr int kDetailsBytes = block_details_bytes(kOutline);
                         constexpr int kAhead = 8192;
                         const auto* upper = reinterpret_cast<const uint8_t*>(outline);
                         const auto* lower = reinterpret_cast<const uint8_t*>(details);
                         auto* whole = reinterpret_cast<uint8_t*>(out);
                         for (int64_t b = 0; b < num_blocks; ++b) {
                           prefetch_lines<kBytes, CacheLevel::l1>(upper + kAhead);
                           prefetch_lines<kDetailsBytes, CacheLevel::l1>(lower + kAhead);
                           join_block<kWhole, kOutline, Rows>(upper, lower, whole);
                           upper += kBytes;
                           lower += kDetailsBytes;
                           whole += block_layout(kWhole).bytes;
                         }
                       });
}

}  // namespace
}  // namespace pagoda
