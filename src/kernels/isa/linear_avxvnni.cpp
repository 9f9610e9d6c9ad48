// Linear layers with AVX-VNNI: vpdpbusd multiplies unsigned weights by signed activations and adds four
// products to a 32-bit sum, in 256-bit vectors.
#include <immintrin.h>

#include "kernels/isa/linear_body_avx2.h"
#include "kernels/isa/tables.h"

namespace pagoda::isa_avxvnni {

namespace {

template <int kBits>
struct Products {
  static constexpr int kMostOperands = 8;
  static constexpr ZeroPoint kZeroPoint = ZeroPoint::first;
  static constexpr int kMaxTokens = 6;
  static constexpr Masks masks_of(int num_tokens) {
    return num_tokens > 4 || (kBits == 5 && num_tokens > 1) ? Masks::one_register : Masks::registers;
  }

  PAGODA_INLINE static __m256i add(__m256i sum, __m256i w, __m256i a) {
    return _mm256_dpbusd_avx_epi32(sum, w, a);
  }
  PAGODA_INLINE static __m256i scale(__m128i scales) { return _mm256_cvtepi8_epi32(scales); }
  PAGODA_INLINE static __m256i scaled(__m256i sum, __m256i scale) { return _mm256_mullo_epi32(sum, scale); }
  PAGODA_INLINE static __m256i unscaled(__m256i sum) { return sum; }
};

template <PackedFormat kFormat>
using Quantised = QuantisedOf<kFormat, Products>;

void linear(const LinearArgs& args, int64_t group_begin, int64_t group_end) noexcept {
  switch (args.weight.dtype) {
    case DType::f32:
    case DType::f16:
    case DType::bf16:
      return isa_avx2::linear_kernels().linear(args, group_begin, group_end);
    default:  // all others are quantised
      return run_quantised_of<Quantised>(args, group_begin, group_end, isa_avx2::join_outline);
  }
}

}  // namespace

LinearKernels linear_kernels() {
  LinearKernels kernels = isa_avx2::linear_kernels();
  kernels.linear = linear;
  kernels.outline = run_outline_of<Quantised>;
  return kernels;
}

}  // namespace pagoda::isa_avxvnni
