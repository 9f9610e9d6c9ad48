// Linear layers with AVX-512 VNNI: vpdpbusd multiplies unsigned weights by signed activations, which come as
// 4-byte broadcasts from the L1 cache. A tile is some tokens times one group, whose unpacked weights of 32 k
// stay in 8 registers while the tokens pass, or times two, where each broadcast serves two products and all
// sums stay in registers while the weights pass. Internal linkage, as in linear_layout.h.
#pragma once

#include <utility>

#include <immintrin.h>

#include "kernels/isa/linear_unpack_avx512.h"

namespace pagoda {
namespace {

// Tokens whose integer sums are live at the same time.
template <int kTokens, int kGroups>
inline constexpr int kLive = kGroups > 1 || kTokens <= 4 ? kTokens
                             : kTokens == 6              ? 3
                                                         : 4;

// Products of operand o of 32 k, one vector for each group, with the tokens from first_token on, added to
// sums; `rows` is at the 32 k.
template <int kTileTokens, int kTokens, int kGroups>
PAGODA_INLINE void multiply_operand(const __m512i (&w)[kGroups], int o, const TokenRows<kTileTokens>& rows,
                                    int first_token, __m512i (&sums)[kTokens][kGroups]) {
  PAGODA_UNROLL for (int t = 0; t < kTokens; ++t) {
    const __m512i x = broadcast(rows[first_token + t] + 4 * o);
    PAGODA_UNROLL for (int g = 0; g < kGroups; ++g) sums[t][g] = _mm512_dpbusd_epi32(sums[t][g], w[g], x);
  }
}

// Bytes of 32 k of a group with their share of the scales, and of their details.
template <PackedFormat kFormat>
inline constexpr int kRunBytes = block_layout(kFormat).bytes / (kFormat.block_length / 32);
template <PackedFormat kFormat>
inline constexpr int kRunDetailsBytes = kFormat.has_details ? kVectorBytes * kFormat.detail_bits : 0;

// What a single token asks for ahead of reading it; null: nothing.
struct Later {
  const uint8_t* run;
  const uint8_t* details;
};

// Asks for the lines of 32 k that are read later, a quarter at a time: evenly among the loads of what is read
// now, they keep memory busy, all at once they do not. To the first level, as is best where a single token
// asks at all.
template <PackedFormat kFormat, int kQuarter>
PAGODA_INLINE void prefetch_quarter(const Later& later) {
  const auto prefetch_lines = []<int kBytes>(const uint8_t* first) PAGODA_INLINE_LAMBDA {
    constexpr int kLines = (kBytes + 63) / 64;
    PAGODA_UNROLL for (int i = kLines * kQuarter / 4; i < kLines * (kQuarter + 1) / 4; ++i)
        __builtin_prefetch(first + 64 * i);
  };
  if (later.run == nullptr) return;
  prefetch_lines.template operator()<kRunBytes<kFormat>>(later.run);
  prefetch_lines.template operator()<kRunDetailsBytes<kFormat>>(later.details);
}

// Of a single token, operands [kFirst, kFirst + kCount): two chains, so that the latency of vpdpbusd does not
// bind.
template <PackedFormat kFormat, int kFirst, int kCount>
PAGODA_INLINE void multiply_operands(const Quants& quants, const Later& later, const TokenRows<1>& rows,
                                     __m512i& sum) {
  __m512i even[1][1] = {{sum}};
  __m512i odd[1][1] = {{_mm512_setzero_si512()}};
  [&]<int... kPair>(std::integer_sequence<int, kPair...>) PAGODA_INLINE_LAMBDA {
    (...,
     (multiply_operand({operand_of<kFormat, kFirst + 2 * kPair>(quants)}, kFirst + 2 * kPair, rows, 0, even),
      multiply_operand({operand_of<kFormat, kFirst + 2 * kPair + 1>(quants)}, kFirst + 2 * kPair + 1, rows, 0,
                       odd),
      prefetch_quarter<kFormat, kFirst / 2 + kPair>(later)));
  }(std::make_integer_sequence<int, kCount / 2>());
  sum = _mm512_add_epi32(even[0][0], odd[0][0]);
}

// Of the tokens from first_token on.
template <PackedFormat kFormat, int kFirst, int kCount, int kTileTokens, int kTokens, int kGroups>
PAGODA_INLINE void multiply_operands(const Quants& quants, int64_t group_bytes,
                                     const TokenRows<kTileTokens>& rows, int first_token,
                                     __m512i (&sums)[kTokens][kGroups]) {
  if constexpr (kGroups == 1) {
    __m512i w[8];
    unpack<kFormat>(quants, w);
    PAGODA_UNROLL for (int o = kFirst; o < kFirst + kCount; ++o)
        multiply_operand({w[o]}, o, rows, first_token, sums);
  } else {
    static_assert(!kFormat.has_details);
    const Quants second = {quants.packed + group_bytes, nullptr};
    [&]<int... kOperand>(std::integer_sequence<int, kOperand...>) PAGODA_INLINE_LAMBDA {
      (..., multiply_operand({operand_of<kFormat, kFirst + kOperand>(quants),
                              operand_of<kFormat, kFirst + kOperand>(second)},
                             kFirst + kOperand, rows, first_token, sums));
    }(std::make_integer_sequence<int, kCount>());
  }
}

// Lets the sums of a token start at what the activations have for the format's zero point, `offset` bytes
// from where the rows are.
template <PackedFormat kFormat, int kTileTokens, int kTokens, int kGroups>
PAGODA_INLINE void start_sums(const TokenRows<kTileTokens>& rows, int first_token, int offset,
                              __m512i (&sums)[kTokens][kGroups]) {
  PAGODA_UNROLL for (int t = 0; t < kTokens; ++t) {
    const __m512i start =
        kFormat.zero_point == 0 ? _mm512_setzero_si512() : broadcast(rows[first_token + t] + offset);
    PAGODA_UNROLL for (int g = 0; g < kGroups; ++g) sums[t][g] = start;
  }
}

// Several tokens ask for the weights of 32 k that are read later at once; what a single token is to ask for
// is returned. Of the details it is fewer bytes ahead, since fewer are read in the same time.
template <PackedFormat kFormat, int kTokens, int kGroups>
PAGODA_INLINE Later prefetch_run(const uint8_t* run, const uint8_t* details, const Tile& tile) {
  if constexpr (kTokens > 1) {
    prefetch_groups<kRunBytes<kFormat>, kTokens, kGroups>(run, tile);
    if constexpr (kFormat.has_details) prefetch<kRunDetailsBytes<kFormat>, kTokens>(details, tile.prefetch);
    return {};
  }
  const int64_t ahead = tile.prefetch.weight_bytes;
  if (ahead == 0) return {};
  if constexpr (!kFormat.has_details) return {run + ahead, nullptr};
  return {run + ahead, details + ahead / 2};
}

template <PackedFormat kFormat, int kTokens, int kGroups>
PAGODA_INLINE void add_block32(const Tile& tile, const uint8_t* block, const uint8_t* details,
                               const TokenRows<kTokens>& rows, __m512 (&acc)[kTokens][kGroups]) {
  constexpr BlockLayout kAt = block_layout(kFormat);
  constexpr int kStep = kLive<kTokens, kGroups>;
  const Quants quants = {block + kAt.quants, details};
  const Later later = prefetch_run<kFormat, kTokens, kGroups>(block, details, tile);
  PAGODA_UNROLL for (int first = 0; first < kTokens; first += kStep) {
    __m512i sums[kStep][kGroups];
    start_sums<kFormat>(rows, first, zero_point_offset<kFormat>(), sums);
    if constexpr (kTokens == 1)
      multiply_operands<kFormat, 0, 8>(quants, later, rows, sums[0][0]);
    else
      multiply_operands<kFormat, 0, 8>(quants, tile.group_bytes, rows, first, sums);
    PAGODA_UNROLL for (int g = 0; g < kGroups; ++g) {
      const uint8_t* scales = block + g * tile.group_bytes;
      const __m512 d = load_f16(scales);
      PAGODA_UNROLL for (int t = 0; t < kStep; ++t) {
        const __m512 s = broadcast_float(rows[first + t] + offsetof(Activation32, scale));
        __m512& a = acc[first + t][g];
        a = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[t][g]), _mm512_mul_ps(d, s), a);
        if constexpr (kFormat.has_min != 0) {
          const __m512 m = load_f16(scales + kAt.dmin);
          a = _mm512_fmadd_ps(broadcast_float(rows[first + t] + offsetof(Activation32, scaled_sum)), m, a);
        }
      }
    }
  }
}

// sums += scale * product, for the tokens from first_token on
template <int kStep, int kTokens, int kGroups>
PAGODA_INLINE void add_scaled(const uint8_t* scales, int64_t group_bytes, int first_token,
                              const __m512i (&products)[kStep][kGroups], __m512i (&sums)[kTokens][kGroups]) {
  PAGODA_UNROLL for (int g = 0; g < kGroups; ++g) {
    const __m512i scale = _mm512_cvtepi8_epi32(load128(scales + g * group_bytes));
    PAGODA_UNROLL for (int t = 0; t < kStep; ++t) {
      __m512i& sum = sums[first_token + t][g];
      sum = _mm512_add_epi32(sum, _mm512_mullo_epi32(products[t][g], scale));
    }
  }
}

// A run of 32 k of a block of 256.
struct Run {
  Quants quants;
  const uint8_t* scales;
  Later later;
};

// The operands [kFirst, kFirst + kCount) of a run (an Activation256::Run) that share the scales.
template <PackedFormat kFormat, int kFirst, int kCount, int kTokens, int kGroups>
PAGODA_INLINE void add_part_of_run(const Tile& tile, const Run& run, const uint8_t* scales,
                                   const TokenRows<kTokens>& rows, int first_token,
                                   __m512i (&sums)[kTokens][kGroups]) {
  constexpr int kStart = offsetof(Activation256::Run, minus_32_sums16) + kFirst / 4 * 4;
  __m512i products[kLive<kTokens, kGroups>][kGroups];
  start_sums<kFormat>(rows, first_token, kStart, products);
  if constexpr (kTokens == 1)
    multiply_operands<kFormat, kFirst, kCount>(run.quants, run.later, rows, products[0][0]);
  else
    multiply_operands<kFormat, kFirst, kCount>(run.quants, tile.group_bytes, rows, first_token, products);
  add_scaled(scales, tile.group_bytes, first_token, products, sums);
}

template <PackedFormat kFormat, int kTokens, int kGroups>
PAGODA_INLINE void add_run(const Tile& tile, const Run& run, const TokenRows<kTokens>& rows,
                           __m512i (&sums)[kTokens][kGroups]) {
  PAGODA_UNROLL for (int first = 0; first < kTokens; first += kLive<kTokens, kGroups>) {
    if constexpr (kFormat.sub_length == 32) {
      add_part_of_run<kFormat, 0, 8>(tile, run, run.scales, rows, first, sums);
    } else {
      add_part_of_run<kFormat, 0, 4>(tile, run, run.scales, rows, first, sums);
      add_part_of_run<kFormat, 4, 4>(tile, run, run.scales + 16, rows, first, sums);
    }
  }
}

// Sum over the sub-blocks of min * (sum of activations), for each token.
template <PackedFormat kFormat, int kTokens>
PAGODA_INLINE void sum_mins(const uint8_t* mins, const TokenRows<kTokens>& rows, __m512i (&sums)[kTokens]) {
  PAGODA_UNROLL for (int t = 0; t < kTokens; ++t) sums[t] = _mm512_setzero_si512();
  if constexpr (kFormat.sub_length == 32) {
    PAGODA_UNROLL for (int pair = 0; pair < 4; ++pair) {
      const __m512i min =
          _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(mins + 32 * pair)));
      PAGODA_UNROLL for (int t = 0; t < kTokens; ++t) sums[t] =
          _mm512_dpwssd_epi32(sums[t], min, broadcast(rows[t] + offsetof(Activation256, sums32) + 4 * pair));
    }
  } else {
    for (int j = 0; j < 16; ++j) {
      const __m512i min = _mm512_cvtepu8_epi32(load128(mins + 16 * j));
      PAGODA_UNROLL for (int t = 0; t < kTokens; ++t) {
        const __m512i sum = broadcast(rows[t] + j / 2 * sizeof(Activation256::Run) +
                                      offsetof(Activation256::Run, minus_32_sums16) + j % 2 * 4);
        sums[t] = _mm512_sub_epi32(sums[t], _mm512_mullo_epi32(min, sum));
      }
    }
    PAGODA_UNROLL for (int t = 0; t < kTokens; ++t) sums[t] = _mm512_srai_epi32(sums[t], 5);
  }
}

template <PackedFormat kFormat, int kTokens, int kGroups>
PAGODA_INLINE void add_block256(const Tile& tile, const uint8_t* block, const uint8_t* details,
                                const TokenRows<kTokens>& rows, __m512 (&acc)[kTokens][kGroups]) {
  constexpr BlockLayout kAt = block_layout(kFormat);
  __m512i sums[kTokens][kGroups];
  clear(sums);
  const uint8_t* quants = block + kAt.quants;
  const uint8_t* scales = block + kAt.scales;
  const uint8_t* stream = block;
  TokenRows<kTokens> run_rows = rows;
  for (int run = 0; run < 8; ++run) {
    const Later later = prefetch_run<kFormat, kTokens, kGroups>(stream, details, tile);
    add_run<kFormat>(tile, {{quants, details}, scales, later}, run_rows, sums);
    run_rows.advance(sizeof(Activation256::Run));
    quants += 64 * kFormat.bits;
    scales += 32 / kFormat.sub_length * 16;
    stream += kRunBytes<kFormat>;
    details += kRunDetailsBytes<kFormat>;
  }
  PAGODA_UNROLL for (int g = 0; g < kGroups; ++g) {
    const uint8_t* header = block + g * tile.group_bytes;
    const __m512 d = load_f16(header + kAt.d);
    PAGODA_UNROLL for (int t = 0; t < kTokens; ++t) {
      const __m512 s = broadcast_float(rows[t] + offsetof(Activation256, scale));
      acc[t][g] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[t][g]), _mm512_mul_ps(d, s), acc[t][g]);
    }
    if constexpr (kFormat.has_min != 0) {
      const __m512 dmin = load_f16(header + kAt.dmin);
      __m512i min_sums[kTokens];
      sum_mins<kFormat>(header + kAt.mins, rows, min_sums);
      PAGODA_UNROLL for (int t = 0; t < kTokens; ++t) {
        const __m512 s = broadcast_float(rows[t] + offsetof(Activation256, scale));
        acc[t][g] = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(min_sums[t]), _mm512_mul_ps(dmin, s), acc[t][g]);
      }
    }
  }
}

template <PackedFormat kFormat>
struct Quantised {
  // Blocks of 256 keep integer sums beside the accumulators; unpacking 5 bits with a min needs one register
  // more.
  static constexpr int kMaxTileTokens =
      kFormat.block_length == 256 || (kFormat.bits == 5 && kFormat.has_min != 0) ? 8 : 12;

  template <int kTokens, int kGroups = 1>
  [[gnu::noinline]] static void tile(const Tile& tile) noexcept {
    constexpr bool kLong = kFormat.block_length == 256;
    if constexpr (kLong && kFormat.detail_bits != 0 && kTokens == 6) {
      // Its sums and the operands on their way to their places have no registers.
      Tile rest = tile;
      rest.activations += 3 * tile.activation_stride;
      rest.out += 3 * tile.out_stride;
      Quantised::tile<3>(tile);
      return Quantised::tile<3>(rest);
    }
    constexpr int kBlockBytes = block_layout(kFormat).bytes;
    TokenRows<kTokens> rows(tile.activations, tile.activation_stride);
    __m512 acc[kTokens][kGroups];
    clear(acc);
    const uint8_t* block = tile.group;
    const uint8_t* details = tile.details;
    for (int64_t k = 0; k < tile.num_cols; k += kFormat.block_length, block += kBlockBytes) {
      if constexpr (kLong)
        add_block256<kFormat>(tile, block, details, rows, acc);
      else
        add_block32<kFormat>(tile, block, details, rows, acc);
      if constexpr (kFormat.has_details) details += block_details_bytes(kFormat);
      rows.advance(kLong ? sizeof(Activation256) : sizeof(Activation32));
    }
    store(tile, acc);
  }
};

// acc += w * x for one k and all tokens; x is `offset` bytes from where the rows are.
template <int kTokens, int kGroups>
PAGODA_INLINE void multiply_add(const __m512 (&w)[kGroups], const TokenRows<kTokens>& rows, int offset,
                                __m512 (&acc)[kTokens][kGroups]) {
  PAGODA_UNROLL for (int t = 0; t < kTokens; ++t) {
    const __m512 x = broadcast_float(rows[t] + offset);
    PAGODA_UNROLL for (int g = 0; g < kGroups; ++g) acc[t][g] = _mm512_fmadd_ps(w[g], x, acc[t][g]);
  }
}

template <DType kType, int kTokens, int kGroups>
PAGODA_INLINE void add_plain(const Tile& tile, TokenRows<kTokens>& rows, __m512 (&acc)[kTokens][kGroups]) {
  constexpr int kBytesPerColumn = kType == DType::f32 ? 64 : 32;
  const uint8_t* column = tile.group;
  for (int64_t k = 0; k < tile.num_cols; ++k, column += kBytesPerColumn) {
    prefetch_groups<1, kTokens, kGroups>(column, tile);
    __m512 w[kGroups];
    PAGODA_UNROLL for (int g = 0; g < kGroups; ++g) {
      const uint8_t* p = column + g * tile.group_bytes;
      w[g] = kType == DType::f32 ? _mm512_loadu_ps(p) : load_f16(p);
    }
    multiply_add(w, rows, 0, acc);
    rows.advance(sizeof(float));
  }
}

template <DType kType>
struct Plain {
  static constexpr int kMaxTileTokens = 12;

  template <int kTokens, int kGroups = 1>
  [[gnu::noinline]] static void tile(const Tile& tile) noexcept {
    TokenRows<kTokens> rows(tile.activations, tile.activation_stride);
    __m512 acc[kTokens][kGroups];
    clear(acc);
    add_plain<kType, kTokens, kGroups>(tile, rows, acc);
    store(tile, acc);
  }
};

// bf16 weights times f32 activations.
template <Packing kPacking>
struct Bf16 : PaletteUnpacker {
  static constexpr int kMaxTileTokens = kPacking == Packing::palette ? 8 : 12;

  template <int kTokens, int kGroups = kBf16Groups<kPacking>>
  [[gnu::noinline]] static void tile(const Tile& tile) noexcept {
    constexpr int kNext = sizeof(float);
    TokenRows<kTokens> rows(tile.activations, tile.activation_stride);
    Tile asking = tile;
    // To unpack and multiply these takes as long as to read them: no processor fetches far enough by itself.
    if constexpr (kPacking == Packing::palette) asking.prefetch.weight_bytes = kPrefetchBytes;
    __m512 acc[kTokens][kGroups];
    clear(acc);
    for_each_bf16_pair<kPacking, 2 * kNext, kGroups, kTokens>(
        asking, rows, [&](const __m512i(&w)[kGroups], int offset) PAGODA_INLINE_LAMBDA {
          __m512 even[kGroups];
          __m512 odd[kGroups];
          PAGODA_UNROLL for (int g = 0; g < kGroups; ++g) {
            even[g] = even_bf16(w[g]);
            odd[g] = odd_bf16(w[g]);
          }
          multiply_add(even, rows, offset, acc);
          multiply_add(odd, rows, offset + kNext, acc);
        });
    store(tile, acc);
  }
};

// bf16 weights times bf16 activations where there is no instruction for it.
template <Packing kPacking>
struct Bf16Products : PaletteUnpacker {
  static constexpr int kMaxTileTokens = 8;

  template <int kTokens, int kGroups = kBf16Groups<kPacking>>
  [[gnu::noinline]] static void tile(const Tile& tile) noexcept {
    TokenRows<kTokens> rows(tile.activations, tile.activation_stride);
    __m512 acc[kTokens][kGroups];
    clear(acc);
    for_each_bf16_pair<kPacking, 2 * sizeof(uint16_t), kGroups, kTokens>(
        tile, rows, [&](const __m512i(&w)[kGroups], int offset) PAGODA_INLINE_LAMBDA {
          PAGODA_UNROLL for (int t = 0; t < kTokens; ++t) {
            const __m512i x = broadcast(rows[t] + offset);
            PAGODA_UNROLL for (int g = 0; g < kGroups; ++g) {
              acc[t][g] = _mm512_fmadd_ps(odd_bf16(w[g]), odd_bf16(x), acc[t][g]);
              acc[t][g] = _mm512_fmadd_ps(even_bf16(w[g]), even_bf16(x), acc[t][g]);
            }
          }
        });
    store(tile, acc);
  }
};

}  // namespace
}  // namespace pagoda
