// bf16 weights times bf16 activations by vdpbf16ps; everything else is AVX-512's.
#include "kernels/isa/linear_driver.h"
#include "kernels/isa/linear_unpack_avx512.h"
#include "kernels/isa/tables.h"

namespace pagoda::isa_avx512_bf16 {

namespace {

struct Bf16Products {
  static constexpr int kMaxTileTokens = 8;
  static constexpr int kPairTokens = 8;

  template <int kTokens, int kGroups = 1>
  [[gnu::noinline]] static void tile(const Tile& tile) noexcept {
    TokenRows<kTokens> rows(tile.activations, tile.activation_stride);
    __m512 acc[kTokens][kGroups];
    clear(acc);
    const uint8_t* pairs = tile.group;
    for (int64_t k = 0; k < tile.num_cols; k += 2, pairs += 64) {
      prefetch_groups<1, kTokens, kGroups>(pairs, tile);
      __m512bh w[kGroups];
      PAGODA_UNROLL for (int g = 0; g < kGroups; ++g) w[g] =
          reinterpret_cast<__m512bh>(load(pairs + g * tile.group_bytes));
      PAGODA_UNROLL for (int t = 0; t < kTokens; ++t) {
        const auto x = reinterpret_cast<__m512bh>(broadcast(rows[t]));
        PAGODA_UNROLL for (int g = 0; g < kGroups; ++g) acc[t][g] = _mm512_dpbf16_ps(acc[t][g], w[g], x);
      }
      rows.advance(2 * sizeof(uint16_t));
    }
    store(tile, acc);
  }
};

void linear(const LinearArgs& args, int64_t group_begin, int64_t group_end) noexcept {
  if (!has_bf16_activations(args.weight))
    return isa_avx512::linear_kernels().linear(args, group_begin, group_end);
  const FlushSubnormals flush;
  run_linear<Bf16Products>(args, group_begin, group_end);
}

}  // namespace

LinearKernels linear_kernels() {
  return {isa_avx512::quantize, linear};
}

}  // namespace pagoda::isa_avx512_bf16
