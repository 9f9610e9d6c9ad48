// Linear layers with AVX-512 VNNI of many tokens: tiles take two groups.
#include "kernels/isa/linear_body_avx512.h"
#include "kernels/isa/tables.h"

namespace pagoda::isa_avx512 {

namespace {

template <PackedFormat kFormat>
struct PairedQuantised : Quantised<kFormat> {
  static constexpr int kPairTokens = 6;
};

template <DType kType>
struct PairedPlain : Plain<kType> {
  static constexpr int kPairTokens = 8;
};

template <Packing kPacking>
struct PairedBf16 : Bf16<kPacking> {
  static constexpr int kPairTokens = kPacking == Packing::palette ? 0 : 8;
};

template <Packing kPacking>
struct PairedBf16Products : Bf16Products<kPacking> {
  static constexpr int kPairTokens = kPacking == Packing::palette ? 0 : 8;
};

}  // namespace

void linear_of_many(const LinearArgs& args, int64_t group_begin, int64_t group_end) noexcept {
  run_linear_of<PairedQuantised, PairedPlain, PairedBf16, PairedBf16Products>(args, group_begin, group_end,
                                                                              join_outline);
}

}  // namespace pagoda::isa_avx512
