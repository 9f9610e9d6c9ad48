// Linear layers on a matrix unit with tile registers (AMX): 16 tokens times 16 rows at a time, for 16 tokens
// and more. Internal linkage, as in linear_layout.h.
//
// The operands of linear_layout.h are what the unit wants: four consecutive k of 16 rows in 64 bytes are one
// row of a tile of weights. A tile of activations is read where they lie, one token a row. A product of two
// tiles covers k of one scale, so its sums are stored, scaled by vectors and added up outside the unit:
// integers inside a block, then the chain of fused multiply-adds. The bits are therefore those of the
// definition.
//
//   tiles 0..3   sums, int32[16 tokens][16 rows], of up to 64 tokens that share a tile of weights
//   tile 4       activations, int8[16 tokens][4 * operands]
//   tile 5       weights, uint8[operands][16 rows][4], operands = 8, or 4 where 16 k share a scale
//
// A Unit has
//   static void configure(const TileConfig&); static void release();
//   template <int kTile> static void zero();
//   template <int kTile> static void load(const void* from, int64_t stride);   rows are `stride` bytes apart
//   template <int kTile> static void store(void* to, int64_t stride);
//   template <int kSums, int kSigned, int kUnsigned> static void multiply();   sums += signed * unsigned
//   bytes
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/isa/linear_driver.h"
#include "kernels/isa/linear_unpack_avx512.h"

namespace pagoda {
namespace {

// In the form in which the processor reads it: palette 1 has 8 tiles of at most 16 rows of 64 bytes.
struct alignas(64) TileConfig {
  uint8_t palette;
  uint8_t start_row;
  uint8_t reserved[14];
  uint16_t row_bytes[16];
  uint8_t num_rows[16];
};
static_assert(sizeof(TileConfig) == 64);

inline constexpr int kTileTokens = 16;
inline constexpr int kMaxTiles = 4;  // of sums
inline constexpr int kActivationTile = 4;
inline constexpr int kWeightTile = 5;

// Operands (of 4 k) that share a scale.
constexpr int operands_per_scale(PackedFormat format) {
  return format.sub_length / 4;
}

constexpr TileConfig tile_config(PackedFormat format) {
  TileConfig config = {};
  config.palette = 1;
  for (int i = 0; i < kMaxTiles; ++i) {
    config.row_bytes[i] = 64;
    config.num_rows[i] = kTileTokens;
  }
  config.row_bytes[kActivationTile] = static_cast<uint16_t>(4 * operands_per_scale(format));
  config.num_rows[kActivationTile] = kTileTokens;
  config.row_bytes[kWeightTile] = 64;
  config.num_rows[kWeightTile] = static_cast<uint8_t>(operands_per_scale(format));
  return config;
}

// What 16 * kTiles tokens and 16 rows add up to.
template <int kTiles>
struct TileSums {
  static constexpr int kTokens = kTileTokens * kTiles;
  alignas(64) int32_t products[kTokens][16];  // of one scale
  alignas(64) int32_t scaled[kTokens][16];    // of one block of 256
  alignas(64) float total[kTokens][16];
};

// products = activations [16 * kTiles tokens] times one tile of weights.
template <class Unit, int kTiles>
PAGODA_INLINE void multiply_tiles(const uint8_t* weights, const std::byte* activations, int64_t stride,
                                  TileSums<kTiles>& sums) {
  const auto token_tile = [&]<int kTile>() __attribute__((always_inline)) {
    if constexpr (kTile < kTiles) {
      Unit::template zero<kTile>();
      Unit::template load<kActivationTile>(activations + kTile * kTileTokens * stride, stride);
      Unit::template multiply<kTile, kActivationTile, kWeightTile>();
      Unit::template store<kTile>(sums.products[kTile * kTileTokens], 64);
    }
  };
  Unit::template load<kWeightTile>(weights, 64);
  token_tile.template operator()<0>();
  token_tile.template operator()<1>();
  token_tile.template operator()<2>();
  token_tile.template operator()<3>();
}

template <PackedFormat kFormat>
PAGODA_INLINE void unpack_to(const uint8_t* quants, uint8_t (&operands)[8][64]) {
  __m512i w[8];
  unpack<kFormat>({quants, nullptr}, w);
  PAGODA_UNROLL for (int o = 0; o < 8; ++o) _mm512_store_si512(operands[o], w[o]);
}

template <class Unit, PackedFormat kFormat, int kTiles>
void add_block32(const uint8_t* block, const std::byte* activations, int64_t stride, TileSums<kTiles>& sums) {
  constexpr BlockLayout kAt = block_layout(kFormat);
  alignas(64) uint8_t operands[8][64];
  unpack_to<kFormat>(block + kAt.quants, operands);
  multiply_tiles<Unit>(operands[0], activations + offsetof(Activation32, q), stride, sums);
  const __m512 d = load_f16(block + kAt.d);
  for (int t = 0; t < sums.kTokens; ++t, activations += stride) {
    __m512i products = _mm512_load_si512(sums.products[t]);
    if constexpr (kFormat.zero_point != 0)
      products = _mm512_add_epi32(products, broadcast(activations + zero_point_offset<kFormat>()));
    const __m512 s = broadcast_float(activations + offsetof(Activation32, scale));
    __m512 total = _mm512_load_ps(sums.total[t]);
    total = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products), _mm512_mul_ps(d, s), total);
    if constexpr (kFormat.has_min != 0) {
      const __m512 m = load_f16(block + kAt.dmin);
      total = _mm512_fmadd_ps(broadcast_float(activations + offsetof(Activation32, scaled_sum)), m, total);
    }
    _mm512_store_ps(sums.total[t], total);
  }
}

// Adds the k of one scale to the integer sums of a block of 256. `starts`: per token what the zero point
// takes away.
template <class Unit, PackedFormat kFormat, int kTiles>
PAGODA_INLINE void add_sub_block(const uint8_t* operands, const uint8_t* scales, const std::byte* activations,
                                 const std::byte* starts, int64_t stride, TileSums<kTiles>& sums) {
  multiply_tiles<Unit>(operands, activations, stride, sums);
  const __m512i scale = _mm512_cvtepi8_epi32(load128(scales));
  for (int t = 0; t < sums.kTokens; ++t) {
    __m512i products = _mm512_load_si512(sums.products[t]);
    if constexpr (kFormat.zero_point != 0)
      products = _mm512_add_epi32(products, broadcast(starts + t * stride));
    const __m512i scaled = _mm512_mullo_epi32(products, scale);
    _mm512_store_si512(sums.scaled[t], _mm512_add_epi32(_mm512_load_si512(sums.scaled[t]), scaled));
  }
}

// Sum over the sub-blocks of min * (sum of activations), for one token.
template <PackedFormat kFormat>
PAGODA_INLINE __m512i sum_mins_of_token(const uint8_t* mins, const std::byte* activations) {
  __m512i sum = _mm512_setzero_si512();
  if constexpr (kFormat.sub_length == 32) {
    for (int pair = 0; pair < 4; ++pair) {
      const __m512i min =
          _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(mins + 32 * pair)));
      sum =
          _mm512_dpwssd_epi32(sum, min, broadcast(activations + offsetof(Activation256, sums32) + 4 * pair));
    }
    return sum;
  }
  for (int j = 0; j < 16; ++j) {
    const __m512i min = _mm512_cvtepu8_epi32(load128(mins + 16 * j));
    const std::byte* start = activations + j / 2 * sizeof(Activation256::Run) +
                             offsetof(Activation256::Run, minus_32_sums16) + j % 2 * 4;
    sum = _mm512_sub_epi32(sum, _mm512_mullo_epi32(min, broadcast(start)));
  }
  return _mm512_srai_epi32(sum, 5);
}

template <class Unit, PackedFormat kFormat, int kTiles>
void add_block256(const uint8_t* block, const std::byte* activations, int64_t stride,
                  TileSums<kTiles>& sums) {
  constexpr BlockLayout kAt = block_layout(kFormat);
  constexpr int kScalesPerRun = 32 / kFormat.sub_length;
  alignas(64) uint8_t operands[8][64];
  for (int t = 0; t < sums.kTokens; ++t) _mm512_store_si512(sums.scaled[t], _mm512_setzero_si512());
  for (int run = 0; run < 8; ++run) {
    unpack_to<kFormat>(block + kAt.quants + run * 64 * kFormat.bits, operands);
    const std::byte* a = activations + run * sizeof(Activation256::Run);
    for (int j = 0; j < kScalesPerRun; ++j)
      add_sub_block<Unit, kFormat>(operands[j * operands_per_scale(kFormat)],
                                   block + kAt.scales + (run * kScalesPerRun + j) * 16,
                                   a + offsetof(Activation256::Run, q) + j * kFormat.sub_length,
                                   a + offsetof(Activation256::Run, minus_32_sums16) + 4 * j, stride, sums);
  }
  const __m512 d = load_f16(block + kAt.d);
  for (int t = 0; t < sums.kTokens; ++t, activations += stride) {
    const __m512 s = broadcast_float(activations + offsetof(Activation256, scale));
    const __m512 scaled = _mm512_cvtepi32_ps(_mm512_load_si512(sums.scaled[t]));
    __m512 total = _mm512_fmadd_ps(scaled, _mm512_mul_ps(d, s), _mm512_load_ps(sums.total[t]));
    if constexpr (kFormat.has_min != 0) {
      const __m512 dmin = load_f16(block + kAt.dmin);
      const __m512 offset = _mm512_cvtepi32_ps(sum_mins_of_token<kFormat>(block + kAt.mins, activations));
      total = _mm512_fnmadd_ps(offset, _mm512_mul_ps(dmin, s), total);
    }
    _mm512_store_ps(sums.total[t], total);
  }
}

template <int kTiles>
void store_totals(const Tile& tile, const TileSums<kTiles>& sums) {
  const auto mask = static_cast<__mmask16>((1u << tile.num_rows) - 1);
  for (int t = 0; t < sums.kTokens; ++t) {
    float* out = tile.out + t * tile.out_stride;
    __m512 y = _mm512_load_ps(sums.total[t]);
    if (tile.bias != nullptr) y = _mm512_add_ps(y, _mm512_maskz_loadu_ps(mask, tile.bias));
    if (tile.store == Store::add) y = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, out), y);
    _mm512_mask_storeu_ps(out, mask, y);
  }
}

template <class Unit, PackedFormat kFormat, int kTiles>
void run_token_tiles(const Tile& tile) {
  TileSums<kTiles> sums;
  for (int t = 0; t < sums.kTokens; ++t) _mm512_store_ps(sums.total[t], _mm512_setzero_ps());
  const std::byte* activations = tile.activations;
  const uint8_t* block = tile.group;
  for (int64_t k = 0; k < tile.num_cols; k += kFormat.block_length, block += block_layout(kFormat).bytes) {
    if constexpr (kFormat.block_length == 256) {
      add_block256<Unit, kFormat>(block, activations, tile.activation_stride, sums);
      activations += sizeof(Activation256);
    } else {
      add_block32<Unit, kFormat>(block, activations, tile.activation_stride, sums);
      activations += sizeof(Activation32);
    }
  }
  store_totals(tile, sums);
}

template <class Unit, PackedFormat kFormat>
int64_t run_tokens(const Tile& tile, int64_t tokens_left) {
  switch (tokens_left / kTileTokens) {
    case 1:
      run_token_tiles<Unit, kFormat, 1>(tile);
      return kTileTokens;
    case 2:
      run_token_tiles<Unit, kFormat, 2>(tile);
      return 2 * kTileTokens;
    case 3:
      run_token_tiles<Unit, kFormat, 3>(tile);
      return 3 * kTileTokens;
    default:
      run_token_tiles<Unit, kFormat, kMaxTiles>(tile);
      return kMaxTiles * kTileTokens;
  }
}

using LinearFunction = void (*)(const LinearArgs&, int64_t, int64_t) noexcept;

// The tokens that fill no tile, the last 0 to 15, take the vector body: a few groups at a time, while these
// are in the cache. The unit is configured for the time of the call.
template <class Unit, PackedFormat kFormat>
void run_tiles(const LinearArgs& args, int64_t group_begin, int64_t group_end, LinearFunction by_vectors) {
  const int64_t groups_per_block = groups_per_cache_block(args.weight.group_bytes());
  const int64_t num_tokens = args.num_tokens / kTileTokens * kTileTokens;
  Tile tile = tile_of(args);
  LinearArgs rest = args;
  rest.activations += num_tokens * tile.activation_stride;
  rest.num_tokens -= num_tokens;
  rest.out += num_tokens * args.out_stride;
  static constexpr TileConfig kConfig = tile_config(kFormat);
  Unit::configure(kConfig);
  for (int64_t block = group_begin; block < group_end; block += groups_per_block) {
    const int64_t block_end = block + groups_per_block < group_end ? block + groups_per_block : group_end;
    int64_t tokens_done = 0;
    for (int64_t token = 0; token < num_tokens; token += tokens_done) {
      tile.activations = args.activations + token * tile.activation_stride;
      for (int64_t group = block; group < block_end; ++group) {
        set_groups(args, group, 1, token, tile);
        tokens_done = run_tokens<Unit, kFormat>(tile, num_tokens - token);
      }
    }
    if (rest.num_tokens > 0) by_vectors(rest, block, block_end);
  }
  Unit::release();
}

template <class Unit>
void run_linear_by_tiles(const LinearArgs& args, int64_t group_begin, int64_t group_end,
                         LinearFunction by_vectors) {
  // Outlines are of the vocabulary projection, which few tokens meet.
  if (args.num_tokens < kTileTokens || args.weight.packing == Packing::outline)
    return by_vectors(args, group_begin, group_end);
  switch (args.weight.dtype) {
    case DType::q4_0:
      return run_tiles<Unit, kPackedQ40>(args, group_begin, group_end, by_vectors);
    case DType::q4_1:
      return run_tiles<Unit, kPackedQ41>(args, group_begin, group_end, by_vectors);
    case DType::q5_0:
      return run_tiles<Unit, kPackedQ50>(args, group_begin, group_end, by_vectors);
    case DType::q5_1:
      return run_tiles<Unit, kPackedQ51>(args, group_begin, group_end, by_vectors);
    case DType::q8_0:
    case DType::iq4_nl:
      return run_tiles<Unit, kPackedQ80>(args, group_begin, group_end, by_vectors);
    case DType::q2_k:
      return run_tiles<Unit, kPackedQ2K>(args, group_begin, group_end, by_vectors);
    case DType::q4_k:
      return run_tiles<Unit, kPackedQ4K>(args, group_begin, group_end, by_vectors);
    case DType::q5_k:
      return run_tiles<Unit, kPackedQ5K>(args, group_begin, group_end, by_vectors);
    case DType::q3_k:
    case DType::q6_k:
      return run_tiles<Unit, kPackedQ6K>(args, group_begin, group_end, by_vectors);
    case DType::f32:
    case DType::f16:
    case DType::bf16:
      return by_vectors(args, group_begin, group_end);
  }
}

}  // namespace
}  // namespace pagoda
