// Linear layers with AMX int8; everything that is not a whole tile of tokens is the AVX-512 body's.
#include <immintrin.h>

#include "kernels/isa/linear_tiles.h"
#include "kernels/isa/tables.h"

namespace pagoda::isa_amx {

namespace {

// The intrinsics take literal tile numbers.
#define PAGODA_FOR_TILE(kTile, INSTRUCTION, ...)                       \
  if constexpr (kTile == 0) INSTRUCTION(0 __VA_OPT__(, ) __VA_ARGS__); \
  if constexpr (kTile == 1) INSTRUCTION(1 __VA_OPT__(, ) __VA_ARGS__); \
  if constexpr (kTile == 2) INSTRUCTION(2 __VA_OPT__(, ) __VA_ARGS__); \
  if constexpr (kTile == 3) INSTRUCTION(3 __VA_OPT__(, ) __VA_ARGS__); \
  if constexpr (kTile == 4) INSTRUCTION(4 __VA_OPT__(, ) __VA_ARGS__); \
  if constexpr (kTile == 5) INSTRUCTION(5 __VA_OPT__(, ) __VA_ARGS__)

struct AmxUnit {
  static void configure(const TileConfig& config) { _tile_loadconfig(&config); }
  static void release() { _tile_release(); }
  template <int kTile>
  PAGODA_INLINE static void zero() {
    PAGODA_FOR_TILE(kTile, _tile_zero);
  }
  template <int kTile>
  PAGODA_INLINE static void load(const void* from, int64_t stride) {
    // GCC's intrinsic does not say that it reads memory.
    asm volatile("" ::: "memory");
    PAGODA_FOR_TILE(kTile, _tile_loadd, from, stride);
  }
  template <int kTile>
  PAGODA_INLINE static void store(void* to, int64_t stride) {
    PAGODA_FOR_TILE(kTile, _tile_stored, to, stride);
    asm volatile("" ::: "memory");
  }
  template <int kSums, int kSigned, int kUnsigned>
  PAGODA_INLINE static void multiply() {
    static_assert(kSigned == kActivationTile && kUnsigned == kWeightTile);
    if constexpr (kSums == 0) _tile_dpbsud(0, 4, 5);
    if constexpr (kSums == 1) _tile_dpbsud(1, 4, 5);
    if constexpr (kSums == 2) _tile_dpbsud(2, 4, 5);
    if constexpr (kSums == 3) _tile_dpbsud(3, 4, 5);
  }
};

void linear(const LinearArgs& args, int64_t group_begin, int64_t group_end) noexcept {
  run_linear_by_tiles<AmxUnit>(args, group_begin, group_end, isa_avx512_bf16::linear_kernels().linear);
}

}  // namespace

LinearKernels linear_kernels() {
  LinearKernels kernels = isa_avx512_bf16::linear_kernels();
  kernels.linear = linear;
  return kernels;
}

}  // namespace pagoda::isa_amx
