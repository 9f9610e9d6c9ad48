// Attention over int8 pages by dot products of 16-bit pairs; everything else is AVX2's.
#include "kernels/isa/attention_body.h"
#include "kernels/isa/tables.h"
#include "kernels/isa/vec_avx2.h"

namespace pagoda::isa_avxvnni {

namespace {

using isa_avx2::F32x16;

struct I32x16 : isa_avx2::I32x16 {
  static I32x16 zero() { return {isa_avx2::I32x16::zero()}; }
  // Not the intrinsic: GCC 12 copies its accumulator to another register and back, each time.
  static I32x16 dot(I32x16 acc, Pairs pairs, Factors factors) {
    asm("%{vex%} vpdpwssd %2, %1, %0" : "+x"(acc.lo) : "x"(pairs.lo), "x"(factors));
    asm("%{vex%} vpdpwssd %2, %1, %0" : "+x"(acc.hi) : "x"(pairs.hi), "x"(factors));
    return acc;
  }
};

}  // namespace

OpKernels op_kernels() {
  using Attention = AttentionBody<F32x16, I32x16, Bf16Pairs<F32x16>>;
  OpKernels ops = isa_avx2::op_kernels();
  ops.attention = Attention::attention;
  ops.attention_segment = Attention::attention_segment;
  return ops;
}

}  // namespace pagoda::isa_avxvnni
