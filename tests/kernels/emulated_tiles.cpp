#include "kernels/emulated_tiles.h"

#include "kernels/isa/linear_tiles.h"
#include "kernels/isa/tables.h"

namespace pagoda {

namespace {

// As the manual describes them: a register has the configured rows and bytes, what lies outside is zero.
struct EmulatedUnit {
  static inline TileConfig config = {};
  static inline uint8_t tiles[8][16][64] = {};
  static inline TileUse use = {};

  static void expect(bool condition) { use.num_errors += !condition; }

  static void configure(const TileConfig& wanted) {
    expect(config.palette == 0 && wanted.palette == 1 && wanted.start_row == 0);
    for (int i = 0; i < 8; ++i) expect(wanted.row_bytes[i] <= 64 && wanted.num_rows[i] <= 16);
    config = wanted;
    __builtin_memset(tiles, 0, sizeof tiles);
  }
  static void release() {
    expect(config.palette == 1);
    config = {};
  }
  template <int kTile>
  static void zero() {
    expect(config.num_rows[kTile] > 0);
    __builtin_memset(tiles[kTile], 0, sizeof tiles[kTile]);
  }
  template <int kTile>
  static void load(const void* from, int64_t stride) {
    zero<kTile>();
    for (int i = 0; i < config.num_rows[kTile]; ++i)
      __builtin_memcpy(tiles[kTile][i], static_cast<const uint8_t*>(from) + i * stride,
                       config.row_bytes[kTile]);
  }
  template <int kTile>
  static void store(void* to, int64_t stride) {
    expect(config.num_rows[kTile] > 0);
    for (int i = 0; i < config.num_rows[kTile]; ++i)
      __builtin_memcpy(static_cast<uint8_t*>(to) + i * stride, tiles[kTile][i], config.row_bytes[kTile]);
  }
  template <int kSums, int kSigned, int kUnsigned>
  static void multiply() {
    expect(config.num_rows[kSums] == config.num_rows[kSigned]);
    expect(config.row_bytes[kSums] == config.row_bytes[kUnsigned]);
    expect(config.row_bytes[kSigned] == 4 * config.num_rows[kUnsigned]);
    ++use.num_products;
    for (int m = 0; m < config.num_rows[kSums]; ++m) {
      for (int n = 0; n < config.row_bytes[kSums] / 4; ++n) {
        int32_t sum;
        __builtin_memcpy(&sum, tiles[kSums][m] + 4 * n, 4);
        for (int k = 0; k < config.num_rows[kUnsigned]; ++k)
          for (int j = 0; j < 4; ++j)
            sum += static_cast<int8_t>(tiles[kSigned][m][4 * k + j]) * tiles[kUnsigned][k][4 * n + j];
        __builtin_memcpy(tiles[kSums][m] + 4 * n, &sum, 4);
      }
    }
  }
};

void linear(const LinearArgs& args, int64_t group_begin, int64_t group_end) noexcept {
  run_linear_by_tiles<EmulatedUnit>(args, group_begin, group_end, isa_avx512::linear_kernels().linear);
  EmulatedUnit::expect(EmulatedUnit::config.palette == 0);
}

}  // namespace

LinearKernels emulated_tile_kernels() {
  return {isa_avx512::quantize, linear};
}

TileUse tile_use() {
  return EmulatedUnit::use;
}

}  // namespace pagoda
