// bf16 weights times bf16 activations by vdpbf16ps; everything else is AVX-512's.
#include "kernels/isa/linear_driver.h"
#include "kernels/isa/linear_unpack_avx512.h"
#include "kernels/isa/tables.h"

namespace pagoda::isa_avx512_bf16 {

namespace {

template <Packing kPacking>
struct Bf16Products : PaletteUnpacker {
  static constexpr int kMaxTileTokens = 8;
  static constexpr int kPairTokens = kPacking == Packing::palette ? 0 : 8;

  template <int kTokens, int kGroups = kBf16Groups<kPacking>>
  [[gnu::noinline]] static void tile(const Tile& tile) noexcept {
    TokenRows<kTokens> rows(tile.activations, tile.activation_stride);
    __m512 acc[kTokens][kGroups];
    clear(acc);
    for_each_bf16_pair<kPacking, 2 * sizeof(uint16_t), kGroups, kTokens>(
        tile, rows, [&](const __m512i(&w)[kGroups], int offset) PAGODA_INLINE_LAMBDA {
          PAGODA_UNROLL for (int t = 0; t < kTokens; ++t) {
            const auto x = reinterpret_cast<__m512bh>(broadcast(rows[t] + offset));
            PAGODA_UNROLL for (int g = 0; g < kGroups; ++g) acc[t][g] =
                _mm512_dpbf16_ps(acc[t][g], reinterpret_cast<__m512bh>(w[g]), x);
          }
        });
    store(tile, acc);
  }
};

void linear(const LinearArgs& args, int64_t group_begin, int64_t group_end) noexcept {
  if (!has_bf16_activations(args.weight))
    return isa_avx512::linear_kernels().linear(args, group_begin, group_end);
  const FlushSubnormals flush;
  run_bf16_of<Bf16Products>(args, group_begin, group_end);
}

}  // namespace

LinearKernels linear_kernels() {
  LinearKernels kernels = isa_avx512::linear_kernels();
  kernels.linear = linear;
  return kernels;
}

}  // namespace pagoda::isa_avx512_bf16
