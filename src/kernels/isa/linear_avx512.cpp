// Linear layers with AVX-512 VNNI of few tokens.
#include "kernels/isa/linear_body_avx512.h"
#include "kernels/isa/tables.h"

namespace pagoda::isa_avx512 {

namespace {

void linear(const LinearArgs& args, int64_t group_begin, int64_t group_end) noexcept {
  // Up to here weights that come from memory bind as well, which two groups side by side read slower.
  constexpr int64_t kFewTokens = 64;
  if (args.num_tokens > kFewTokens) return linear_of_many(args, group_begin, group_end);
  if (args.weight.packing == Packing::outline)
    return run_outlined_of<Quantised, kJoinedQ80, kJoinedQ6K>(args, group_begin, group_end);
  run_linear_of<Quantised, Plain, Bf16, Bf16Products>(args, group_begin, group_end, join_outline);
}

}  // namespace

LinearKernels linear_kernels() {
  return {quantize,     linear,       run_outline_of<Quantised>, pack_blocks,
          pack_outline, join_outline, Packing::palette};
}

}  // namespace pagoda::isa_avx512
