// What the bodies of linear layers in 256-bit vectors share: packed weights to operands in registers, the
// inverse of the packing in linear_layout.h, and the end of a tile. A vector is half a group, 8 rows.
// Internal linkage, as there.
#pragma once

#include <immintrin.h>

#include <cstddef>

#include "kernels/isa/linear_driver.h"

namespace pagoda {
namespace {

PAGODA_INLINE __m256i load(const uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
PAGODA_INLINE __m128i load128(const uint8_t* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}
PAGODA_INLINE __m128i load64(const uint8_t* p) {
  return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
}
PAGODA_INLINE __m256i broadcast(const void* p) {
  int32_t value;
  __builtin_memcpy(&value, p, sizeof value);
  return _mm256_set1_epi32(value);
}
PAGODA_INLINE __m256 broadcast_float(const void* p) {
  return _mm256_castsi256_ps(broadcast(p));
}
PAGODA_INLINE __m256 load_f16(const uint8_t* p) {
  return _mm256_cvtph_ps(load128(p));
}

// Ends the compiler's memory of what it has loaded. Without it, it keeps packed vectors that a later operand
// needs again, too, and 16 registers do not hold them: loading them again from the L1 cache is cheap.
PAGODA_INLINE void forget_loads() {
  asm volatile("" ::: "memory");
}

PAGODA_INLINE __m256i mask_of(int byte) {
  return _mm256_set1_epi8(static_cast<char>(byte));
}
// Where the masks of an operand are held. In registers they may displace accumulators; from the L1 cache they
// are read at each use. one_register: the one that all operands of a format need.
enum class Masks { registers, one_register, memory };

enum class Stored {
  ones16,
  low2,
  low2_at2,
  low2_at4,
  low3,
  bit3,
  two_at3,
  bit4,
  low4,
  low5,
  low6,
  bit1,
  bit2
};
alignas(32) constexpr uint32_t kStored[13][8] = {
#define PAGODA_8(x) {x, x, x, x, x, x, x, x}
    PAGODA_8(0x00010001), PAGODA_8(0x03030303), PAGODA_8(0x0c0c0c0c), PAGODA_8(0x30303030),
    PAGODA_8(0x07070707), PAGODA_8(0x08080808), PAGODA_8(0x18181818), PAGODA_8(0x10101010),
    PAGODA_8(0x0f0f0f0f), PAGODA_8(0x1f1f1f1f), PAGODA_8(0x3f3f3f3f), PAGODA_8(0x02020202),
    PAGODA_8(0x04040404)
#undef PAGODA_8
};
// One of them, at a place that the compiler does not know if kHide, so that it cannot keep it in a register.
template <bool kHide>
PAGODA_INLINE __m256i stored(Stored i) {
  const auto* values = reinterpret_cast<const uint8_t*>(kStored);
  if constexpr (kHide) asm("" : "+r"(values));
  return load(values + 32 * static_cast<int>(i));
}

// (v >> shift) & mask, where mask cuts what the shift drags in from the neighbouring byte.
template <int kShift>
PAGODA_INLINE __m256i field(__m256i v, __m256i mask) {
  return _mm256_and_si256(kShift == 0 ? v : _mm256_srli_epi32(v, kShift), mask);
}
template <int kShift>
PAGODA_INLINE __m256i field_or(__m256i v, __m256i mask, __m256i rest) {
  return _mm256_or_si256(field<kShift>(v, mask), rest);
}

// Operand o of 32 k and 8 rows; the inverse of the packing in linear_layout.h.
template <int kBits, Masks kMasks>
PAGODA_INLINE __m256i operand(const uint8_t* p, int o) {
  using enum Stored;
  const auto common = [](Stored i) PAGODA_INLINE_LAMBDA { return stored < kMasks == Masks::memory > (i); };
  const auto rare = [](Stored i) PAGODA_INLINE_LAMBDA { return stored < kMasks != Masks::registers > (i); };
  // What comes first is masked before the next is loaded: there is no register for both.
  const auto then = [](__m256i rest) PAGODA_INLINE_LAMBDA {
    if constexpr (kMasks != Masks::registers) forget_loads();
    return rest;
  };
  if constexpr (kBits == 4) {
    const __m256i v = load(p + 64 * (o / 2));
    return o % 2 == 0 ? field<0>(v, common(low4)) : field<4>(v, common(low4));
  } else if constexpr (kBits == 5) {
    if (o < 5) return field<0>(load(p + 64 * o), common(low5));
    const __m256i rest = then(field<5>(load(p + (o == 5 ? 0 : o == 6 ? 128 : 256)), rare(low3)));
    if (o < 7) return field_or<3>(load(p + (o == 5 ? 64 : 192)), rare(two_at3), rest);
    return field_or<1>(load(p + 192), rare(bit4), then(field_or<2>(load(p + 64), rare(bit3), rest)));
  } else if constexpr (kBits == 6) {
    const uint8_t* half = p + 192 * (o / 4);
    if (o % 4 < 3) return field<0>(load(half + 64 * (o % 4)), common(low6));
    return field_or<2>(load(half + 128), rare(low2_at4),
                       field_or<4>(load(half + 64), rare(low2_at2), field<6>(load(half), rare(low2))));
  } else {
    return load(p + 64 * o);
  }
}

// What is multiplied of it.
template <PackedFormat kFormat, Masks kMasks>
PAGODA_INLINE __m256i operand_of(const uint8_t* p, int o) {
  const __m256i quants = operand<kFormat.bits, kMasks>(p, o);
  if constexpr (kFormat.detail_bits == 0) return quants;
  constexpr Stored kMiddle = kFormat.detail_bits == 2 ? Stored::bit1 : Stored::bit2;
  return _mm256_or_si256(_mm256_slli_epi32(quants, kFormat.detail_bits),
                         stored < kMasks != Masks::registers > (kMiddle));
}

// Sum over the sub-blocks of min * (sum of activations), for 8 rows and one token.
template <PackedFormat kFormat>
PAGODA_INLINE __m256i sum_mins(const uint8_t* mins, int half, const std::byte* a) {
  __m256i sum = _mm256_setzero_si256();
  if constexpr (kFormat.sub_length == 32) {
    PAGODA_UNROLL for (int pair = 0; pair < 4; ++pair) {
      const __m256i min = _mm256_cvtepu8_epi16(load128(mins + 32 * pair + 16 * half));
      sum = _mm256_add_epi32(
          sum, _mm256_madd_epi16(min, broadcast(a + offsetof(Activation256, sums32) + 4 * pair)));
    }
    return sum;
  } else {
    PAGODA_UNROLL for (int j = 0; j < 16; ++j) {
      const __m256i min = _mm256_cvtepu8_epi32(load64(mins + 16 * j + 8 * half));
      const std::byte* run = a + j / 2 * sizeof(Activation256::Run);
      const __m256i correction = broadcast(run + offsetof(Activation256::Run, minus_32_sums16) + j % 2 * 4);
      sum = _mm256_sub_epi32(sum, _mm256_mullo_epi32(min, correction));
    }
    return _mm256_srai_epi32(sum, 5);
  }
}

// Lanes of a half that are rows of the matrix.
PAGODA_INLINE __m256i valid_lanes(const Tile& tile, int half) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(tile.num_rows - 8 * half),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

// Ends one token's eight sums. Masked stores take AMD's processors a dozen cycles, and few rows need them.
template <bool kWhole>
PAGODA_INLINE void store_half(const Tile& tile, int token, int half, const float* sums) {
  const __m256i mask = valid_lanes(tile, half);
  const auto load = [&](const float* p) PAGODA_INLINE_LAMBDA {
    return kWhole ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, mask);
  };
  float* out = tile.out + token * tile.out_stride + 8 * half;
  __m256 y = _mm256_loadu_ps(sums);
  if (tile.bias != nullptr) y = _mm256_add_ps(y, load(tile.bias + 8 * half));
  if (tile.store == Store::add) y = _mm256_add_ps(load(out), y);
  if constexpr (kWhole)
    _mm256_storeu_ps(out, y);
  else
    _mm256_maskstore_ps(out, mask, y);
}

// Stores sums[token][half][8], not inline: its branches amid the loops of a tile would cost these their
// registers.
[[gnu::noinline]] void store(const Tile& tile, int first_token, int num_tokens, int first_half,
                             int num_halves, const float* sums) {
  for (int t = 0; t < num_tokens; ++t) {
    for (int h = 0; h < num_halves; ++h, sums += 8) {
      const int half = first_half + h;
      if (tile.num_rows >= 8 * half + 8)
        store_half<true>(tile, first_token + t, half, sums);
      else
        store_half<false>(tile, first_token + t, half, sums);
    }
  }
}

}  // namespace
}  // namespace pagoda
