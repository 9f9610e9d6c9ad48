// The loops around a tile of a linear layer, shared by the vector ISAs: which groups and tokens a tile
// covers, and in which order tiles run. Internal linkage, as in linear_layout.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/isa/flush_subnormals.h"
#include "kernels/isa/linear_layout.h"
#include "kernels/isa/prefetch_lines.h"
#include "kernels/isa/unroll.h"
#include "kernels/linear.h"

namespace pagoda {
namespace {

// The same place in the activations of kTokens tokens. A pointer for each third token: x86 addresses the two
// in between as pointer + stride and pointer + 2 * stride, which keeps 8 tokens in 4 registers.
template <int kTokens>
class TokenRows {
 public:
  PAGODA_INLINE TokenRows(const std::byte* first, int64_t stride) : stride_(stride) {
    PAGODA_UNROLL for (int i = 0; i < kPointers; ++i) {
      pointers_[i] = first + 3 * i * stride;
      // Hides from the compiler that the pointers are related; it would otherwise invent eight of them.
      asm("" : "+r"(pointers_[i]));
    }
  }
  PAGODA_INLINE const std::byte* operator[](int token) const {
    return pointers_[token / 3] + (token % 3) * stride_;
  }
  PAGODA_INLINE void advance(int64_t bytes) {
    PAGODA_UNROLL for (int i = 0; i < kPointers; ++i) pointers_[i] += bytes;
  }

 private:
  static constexpr int kPointers = (kTokens + 2) / 3;
  const std::byte* pointers_[kPointers];
  int64_t stride_;
};

inline constexpr int64_t kPrefetchBytes = 8192;

// How far ahead the weights of a tile are fetched. With several tokens per weight every processor's
// prefetcher falls behind; with one token it depends on the processor.
template <int kTokens>
PAGODA_INLINE int64_t bytes_ahead(const Prefetch& how) {
  return kTokens == 1 ? how.weight_bytes : kPrefetchBytes;
}

// Starts loading kBytes of weights that lie further on.
template <int kBytes, int kTokens>
PAGODA_INLINE void prefetch(const uint8_t* p, const Prefetch& how) {
  const int64_t ahead = bytes_ahead<kTokens>(how);
  if (ahead != 0) prefetch_lines<kBytes>(p + ahead, how.level);
}

// A group times a few tokens.
struct Tile {
  const uint8_t* group;          // packed weights
  const uint8_t* details;        // of it, or null
  int64_t group_bytes;           // to the next group
  int64_t details_bytes;         // likewise, of details
  const std::byte* activations;  // of the first token
  int64_t activation_stride;     // bytes
  int64_t num_cols;
  const float* bias;  // of the first row, or null
  float* out;         // [token][out_stride], at the first row
  int64_t out_stride;
  int num_rows;  // of the group that exist
  Store store;
  Prefetch prefetch;
  int64_t bf16_prefetch_bytes;  // how far ahead plain bf16 weights of several tokens are fetched
};

// The same for a line of plain bf16 weights.
template <int kTokens>
PAGODA_INLINE void prefetch_pairs(const uint8_t* p, const Tile& tile) {
  if constexpr (kTokens > 1)
    prefetch_lines<1>(p + tile.bf16_prefetch_bytes, tile.prefetch.level);
  else
    prefetch<1, kTokens>(p, tile.prefetch);
}

// For vector kVector of a run of weights with palettes: the lines of a run are asked for in their order, a
// few for each vector of both parts. Out of order they read 2 to 5 % slower.
template <int kVector, int kTokens, CacheLevel kLevel>
PAGODA_INLINE void prefetch_palette_run(const uint8_t* run, const Prefetch& how) {
  constexpr int kLines = kPaletteRunBytes / 64;
  constexpr int kBegin = kLines * kVector / kRunVectors;
  constexpr int kEnd = kLines * (kVector + 1) / kRunVectors;
  const int64_t ahead = bytes_ahead<kTokens>(how);
  if (ahead != 0) prefetch_lines<64 * (kEnd - kBegin), kLevel>(run + 64 * kBegin + ahead);
}

// Gives weights of a block and a part, unpacked as plain packing has them, the exponents of the group's
// exceptions from `exceptions` on.
inline void set_exceptions(const uint8_t* exceptions, int64_t block, int part, uint8_t* plain) {
  for (PaletteException e(exceptions); e.block() == block;
       e = PaletteException(exceptions += sizeof(uint32_t))) {
    if (e.row / kRowsPerGroup != part) continue;
    uint8_t* at =
        plain + e.k % kPaletteBlockCols / 2 * kVectorBytes + e.row % kRowsPerGroup * 4 + e.k % 2 * 2;
    uint16_t bits;
    __builtin_memcpy(&bits, at, sizeof bits);
    bits = static_cast<uint16_t>((bits & kSignsAndMantissas) | static_cast<uint32_t>(e.exponent)
                                                                   << kExponentShift);
    __builtin_memcpy(at, &bits, sizeof bits);
  }
}
// The first exception behind a block.
PAGODA_INLINE const uint8_t* skip_exceptions(const uint8_t* exceptions, int64_t block) {
  while (PaletteException(exceptions).block() == block) exceptions += sizeof(uint32_t);
  return exceptions;
}

// A Body has, per weight format, `template <int kTokens> static void tile(const Tile&) noexcept`, not
// inline, so that its loop has all registers whatever surrounds the call, and kMaxTileTokens, 8 or 16: as
// many accumulators as its registers hold, since unpacking is paid once a tile. Heights of tiles: 1 token for
// decode, the highest for long runs, the others so that few extra tiles are needed.

// A Body that multiplies two groups at a time with the same tokens, so that an operand that is broadcast
// serves two products, has `tile<kPairTokens, 2>`, too.
template <class Body>
inline constexpr int kPairTokens = [] {
  if constexpr (requires { Body::kPairTokens; })
    return Body::kPairTokens;
  else
    return 0;
}();

template <class Body>
PAGODA_INLINE int run_tile(const Tile& tile, int64_t tokens_left) {
  switch (tokens_left) {
    case 1:
      Body::template tile<1>(tile);
      return 1;
    case 2:
      Body::template tile<2>(tile);
      return 2;
    case 3:
      Body::template tile<3>(tile);
      return 3;
    case 4:
    case 5:
      Body::template tile<4>(tile);
      return 4;
    case 6:
    case 7:
      Body::template tile<6>(tile);
      return 6;
    default:
      break;
  }
  if constexpr (Body::kMaxTileTokens > 8)
    if (tokens_left >= Body::kMaxTileTokens) {
      Body::template tile<Body::kMaxTileTokens>(tile);
      return Body::kMaxTileTokens;
    }
  Body::template tile<8>(tile);
  return 8;
}

// Weights are read from memory once: a few groups, small enough for the L2 cache, meet all tokens before the
// next few.
inline int64_t groups_per_cache_block(size_t group_bytes) {
  constexpr size_t kCacheBlockBytes = 256 * 1024;
  const size_t pairs = kCacheBlockBytes / (2 * group_bytes);
  return pairs == 0 ? 2 : static_cast<int64_t>(2 * pairs);
}

// Lets the tile, whose activations are those of `token`, be about a group, or about several.
inline void set_groups(const LinearArgs& args, int64_t group, int num_groups, int64_t token, Tile& tile) {
  const int64_t row = group * args.weight.rows_per_group();
  const int64_t rows_left = args.weight.num_rows - row;
  const int64_t num_rows = num_groups * args.weight.rows_per_group();
  tile.group = reinterpret_cast<const uint8_t*>(args.weight.data) + group * tile.group_bytes;
  if (args.weight.details != nullptr)
    tile.details = reinterpret_cast<const uint8_t*>(args.weight.details) + group * tile.details_bytes;
  tile.bias = args.bias == nullptr ? nullptr : args.bias + row;
  tile.out = args.out + token * args.out_stride + row;
  tile.num_rows = static_cast<int>(rows_left < num_rows ? rows_left : num_rows);
}

inline Tile tile_of(const LinearArgs& args) {
  const PackedWeight& w = args.weight;
  Tile tile = {};
  tile.group_bytes = static_cast<int64_t>(w.group_bytes());
  tile.details_bytes = static_cast<int64_t>(w.details_bytes());
  tile.activation_stride = static_cast<int64_t>(activation_row_bytes(w.activation_format(), w.num_cols));
  tile.num_cols = w.num_cols;
  tile.out_stride = args.out_stride;
  tile.store = args.store;
  tile.prefetch = args.prefetch;
  return tile;
}

// Runs tiles of the next few tokens, whose activations the tile has, with groups [begin, end); returns how
// many tokens that were.
template <class Body>
PAGODA_INLINE int run_tiles_of_tokens(const LinearArgs& args, int64_t begin, int64_t end, int64_t token,
                                      Tile& tile) {
  int64_t tokens_left = args.num_tokens - token;
  int64_t group = begin;
  if constexpr (kPairTokens<Body> > 0)
    if (args.num_tokens > Body::kMaxTileTokens && tokens_left >= kPairTokens<Body>) {
      tokens_left = kPairTokens<Body>;
      for (; group + 1 < end; group += 2) {
        set_groups(args, group, 2, token, tile);
        Body::template tile<kPairTokens<Body>, 2>(tile);
      }
    }
  int num_tokens = static_cast<int>(tokens_left);
  for (; group < end; ++group) {
    set_groups(args, group, 1, token, tile);
    num_tokens = run_tile<Body>(tile, tokens_left);
  }
  return num_tokens;
}

// bf16_prefetch_bytes: as Tile has it.
template <class Body>
void run_linear(const LinearArgs& args, int64_t group_begin, int64_t group_end,
                int64_t bf16_prefetch_bytes = kPrefetchBytes) noexcept {
  Tile tile = tile_of(args);
  tile.bf16_prefetch_bytes = bf16_prefetch_bytes;
  const int64_t groups_per_block = groups_per_cache_block(static_cast<size_t>(tile.group_bytes));
  for (int64_t block = group_begin; block < group_end; block += groups_per_block) {
    const int64_t block_end = block + groups_per_block < group_end ? block + groups_per_block : group_end;
    for (int64_t token = 0; token < args.num_tokens;) {
      tile.activations = args.activations + token * tile.activation_stride;
      token += run_tiles_of_tokens<Body>(args, block, block_end, token, tile);
    }
  }
}

inline bool has_bf16_activations(const PackedWeight& weight) {
  return weight.dtype == DType::bf16 && weight.float_activations == FloatActivations::bf16;
}

// What lies on the stack where weights are unpacked before they are multiplied.
inline constexpr size_t kUnpackedBytes = 512 * 1024;

// Unpacks groups [group_begin, group_end) to plain ones, num_at_once at a time, which must fit, and calls
// run(part, num_groups, next): the plain groups [0, num_groups) of `part` are to be multiplied, `next` is the
// group behind them. unpack(group, out) writes all that a group becomes.
// Not inline: callers that unpack nothing need no such stack.
template <class Unpack, class Run>
[[gnu::noinline]] void run_unpacked(const LinearArgs& args, int64_t group_begin, int64_t group_end,
                                    int64_t num_at_once, Unpack unpack, Run run) noexcept {
  alignas(64) uint8_t groups[kUnpackedBytes];
  LinearArgs part = args;
  part.weight.packing = Packing::plain;
  part.weight.data = reinterpret_cast<const std::byte*>(groups);
  part.weight.details = nullptr;
  const int64_t plain_groups = args.weight.rows_per_group() / part.weight.rows_per_group();
  const size_t plain_bytes = static_cast<size_t>(plain_groups) * part.weight.group_bytes();
  for (int64_t block = group_begin; block < group_end; block += num_at_once) {
    const int64_t count = num_at_once < group_end - block ? num_at_once : group_end - block;
    for (int64_t i = 0; i < count; ++i) unpack(block + i, groups + static_cast<size_t>(i) * plain_bytes);
    const int64_t row = block * args.weight.rows_per_group();
    part.weight.num_rows = args.weight.num_rows - row;
    part.bias = args.bias == nullptr ? nullptr : args.bias + row;
    part.out = args.out + row;
    const int64_t num_groups = plain_groups * count;
    run(part, num_groups < part.weight.num_groups() ? num_groups : part.weight.num_groups(), block + count);
  }
}

// LinearKernels::linear of outlines and details: run(part, num_groups) multiplies plain groups. A single
// token's stay in the L1 cache.
template <class Run>
PAGODA_INLINE void run_joined(const LinearArgs& args, int64_t group_begin, int64_t group_end,
                              decltype(LinearKernels::join_outline) join, Run run) {
  const PackedWeight& w = args.weight;
  const size_t outline_bytes = w.group_bytes();
  const size_t details_bytes = w.details_bytes();
  const int64_t num_blocks = w.num_cols / packed_format(w.dtype).block_length;
  const int64_t num_at_once =
      args.num_tokens == 1 ? 1
                           : groups_per_cache_block(packed_group_bytes(w.dtype, Packing::plain, w.num_cols));
  run_unpacked(
      args, group_begin, group_end, num_at_once,
      [&](int64_t group, uint8_t* out) PAGODA_INLINE_LAMBDA {
        const auto index = static_cast<size_t>(group);
        join(w.dtype, w.data + index * outline_bytes, w.details + index * details_bytes, num_blocks,
             reinterpret_cast<std::byte*>(out));
      },
      [&](const LinearArgs& part, int64_t num_groups, int64_t)
          PAGODA_INLINE_LAMBDA { run(part, num_groups); });
}

// A body is a template over a packed format.
template <template <PackedFormat> class Quantised>
void run_plain_quantised_of(const LinearArgs& args, int64_t group_begin, int64_t group_end) noexcept {
  switch (args.weight.dtype) {
    case DType::f32:
    case DType::f16:
    case DType::bf16:
      break;  // not quantised
    case DType::q4_0:
      return run_linear<Quantised<kPackedQ40>>(args, group_begin, group_end);
    case DType::q4_1:
      return run_linear<Quantised<kPackedQ41>>(args, group_begin, group_end);
    case DType::q5_0:
      return run_linear<Quantised<kPackedQ50>>(args, group_begin, group_end);
    case DType::q5_1:
      return run_linear<Quantised<kPackedQ51>>(args, group_begin, group_end);
    case DType::q8_0:
    case DType::iq4_nl:
      return run_linear<Quantised<kPackedQ80>>(args, group_begin, group_end);
    case DType::q2_k:
      return run_linear<Quantised<kPackedQ2K>>(args, group_begin, group_end);
    case DType::q4_k:
      return run_linear<Quantised<kPackedQ4K>>(args, group_begin, group_end);
    case DType::q5_k:
      return run_linear<Quantised<kPackedQ5K>>(args, group_begin, group_end);
    case DType::q3_k:
    case DType::q6_k:
      return run_linear<Quantised<kPackedQ6K>>(args, group_begin, group_end);
  }
}

template <template <PackedFormat> class Quantised>
void run_quantised_of(const LinearArgs& args, int64_t group_begin, int64_t group_end,
                      decltype(LinearKernels::join_outline) join) noexcept {
  if (args.weight.packing != Packing::outline)
    return run_plain_quantised_of<Quantised>(args, group_begin, group_end);
  run_joined(args, group_begin, group_end, join,
             [](const LinearArgs& part, int64_t num_groups)
                 PAGODA_INLINE_LAMBDA { run_plain_quantised_of<Quantised>(part, 0, num_groups); });
}

// Of weights that have outlines, multiplied as that format of theirs.
template <template <PackedFormat> class Quantised, PackedFormat kQ80, PackedFormat kQ6K>
void run_outlined_of(const LinearArgs& args, int64_t group_begin, int64_t group_end) noexcept {
  if (args.weight.dtype == DType::q6_k)
    run_linear<Quantised<kQ6K>>(args, group_begin, group_end);
  else
    run_linear<Quantised<kQ80>>(args, group_begin, group_end);
}

// LinearKernels::outline.
template <template <PackedFormat> class Quantised>
void run_outline_of(const LinearArgs& args, int64_t group_begin, int64_t group_end) noexcept {
  run_outlined_of<Quantised, kOutlineQ80, kOutlineQ6K>(args, group_begin, group_end);
}

// From more tokens than a tile has, weights of a palette are unpacked once for all.
inline constexpr int64_t kUnpackForTokens = 9;

// Multiplies weights of a palette as plain ones, a few groups at a time that fit the L2 cache: a tile of many
// tokens keeps the multipliers busy and has no instruction to spare for unpacking. Meanwhile the next groups
// are fetched. Plain has `unpack_palette`, too, which makes two plain groups of one.
template <class Plain>
void run_linear_unpacked(const LinearArgs& args, int64_t group_begin, int64_t group_end) noexcept {
  const size_t packed_bytes = args.weight.group_bytes();
  const auto at = [&](int64_t group) {
    return reinterpret_cast<const uint8_t*>(args.weight.data) + static_cast<size_t>(group) * packed_bytes;
  };
  const size_t plain_bytes = packed_group_bytes(args.weight.dtype, Packing::plain, args.weight.num_cols);
  run_unpacked(
      args, group_begin, group_end, groups_per_cache_block(plain_bytes) / kPaletteParts,
      [&](int64_t group, uint8_t* out) { Plain::unpack_palette(at(group), args.weight.num_cols, out); },
      [&](const LinearArgs& part, int64_t num_groups, int64_t next) {
        run_linear<Plain>(
            part, 0, num_groups,
            reinterpret_cast<intptr_t>(at(next)) - reinterpret_cast<intptr_t>(part.weight.data));
      });
}

// A body is a template over the packing of bf16 weights. A group that does not fit the stack is unpacked by
// the tiles.
template <template <Packing> class Bf16>
void run_bf16_of(const LinearArgs& args, int64_t group_begin, int64_t group_end) noexcept {
  using Plain = Bf16<Packing::plain>;
  if (args.weight.packing == Packing::plain) return run_linear<Plain>(args, group_begin, group_end);
  const size_t plain_bytes = packed_group_bytes(args.weight.dtype, Packing::plain, args.weight.num_cols);
  if (args.num_tokens >= kUnpackForTokens && kPaletteParts * plain_bytes <= kUnpackedBytes)
    return run_linear_unpacked<Plain>(args, group_begin, group_end);
  run_linear<Bf16<Packing::palette>>(args, group_begin, group_end);
}

// Bodies for all weights: Quantised<format>, Plain<dtype> for f32 and f16, Bf16<packing> for bf16 with
// activations in f32, Bf16Products<packing> with activations in bf16.
template <template <PackedFormat> class Quantised, template <DType> class Plain,
          template <Packing> class Bf16, template <Packing> class Bf16Products>
void run_linear_of(const LinearArgs& args, int64_t group_begin, int64_t group_end,
                   decltype(LinearKernels::join_outline) join) noexcept {
  if (has_bf16_activations(args.weight)) {
    const FlushSubnormals flush;
    return run_bf16_of<Bf16Products>(args, group_begin, group_end);
  }
  switch (args.weight.dtype) {
    case DType::f32:
      return run_linear<Plain<DType::f32>>(args, group_begin, group_end);
    case DType::f16:
      return run_linear<Plain<DType::f16>>(args, group_begin, group_end);
    case DType::bf16:
      return run_bf16_of<Bf16>(args, group_begin, group_end);
    default:
      return run_quantised_of<Quantised>(args, group_begin, group_end, join);
  }
}

}  // namespace
}  // namespace pagoda
