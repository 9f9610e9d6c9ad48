// Attention by bf16 dot products; everything else is AVX-512's.
#include "kernels/isa/attention_body.h"
#include "kernels/isa/tables.h"
#include "kernels/isa/vec_avx512.h"
#include "tensor/half.h"

namespace pagoda::isa_avx512_bf16 {

namespace {

using isa_avx512::F32x16;

struct DotPairs {
  using Element = uint16_t;
  using Operand = uint16_t;

  __m512i pairs;

  static DotPairs load(const Element* p) { return {_mm512_loadu_si512(p)}; }
  static F32x16 store_operands(F32x16 values, Operand* out) {
    const F32x16 rounded = F32x16::round_to_bf16(values);
    const __m512i high_halves = _mm512_srli_epi32(_mm512_castps_si512(rounded.v), 16);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm512_cvtepi32_epi16(high_halves));
    return rounded;
  }
  static F32x16 store_weights(F32x16 values, Operand* out) {
    const auto rounded = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(values.v));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), rounded);
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(rounded), 16))};
  }
  static F32x16 multiply_add(const Operand* pair, DotPairs x, F32x16 acc) {
    int32_t both;
    __builtin_memcpy(&both, pair, sizeof both);
    return {_mm512_dpbf16_ps(acc.v, reinterpret_cast<__m512bh>(_mm512_set1_epi32(both)),
                             reinterpret_cast<__m512bh>(x.pairs))};
  }
  static F32x16 multiply_add_even(Operand operand, DotPairs x, F32x16 acc) {
    const __m512 even = _mm512_castsi512_ps(_mm512_slli_epi32(x.pairs, 16));
    return F32x16::fma(F32x16::set1(bf16_to_f32(operand)), {even}, acc);
  }
  static F32x16 multiply_add_odd(Operand operand, DotPairs x, F32x16 acc) {
    const __m512i odd = _mm512_and_si512(x.pairs, _mm512_set1_epi32(static_cast<int>(0xffff0000u)));
    return F32x16::fma(F32x16::set1(bf16_to_f32(operand)), {_mm512_castsi512_ps(odd)}, acc);
  }
};

}  // namespace

OpKernels op_kernels() {
  using Attention = AttentionBody<F32x16, isa_avx512::I32x16, DotPairs>;
  OpKernels ops = isa_avx512::op_kernels();
  ops.attention = Attention::attention;
  ops.attention_segment = Attention::attention_segment;
  return ops;
}

}  // namespace pagoda::isa_avx512_bf16
