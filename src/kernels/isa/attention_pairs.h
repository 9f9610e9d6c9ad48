// The multiplications of attention: pairs of cached elements, 16 of them side by side, times a pair of a
// row's operands (two dims of a query, or the weights of two tokens). A policy of AttentionTile says how
// elements lie in the cache, how operands are kept, and multiplies:
//   acc + operand[1] * odd, then + operand[0] * even, each rounded once
// which is what vdpbf16ps does, so that bf16 has the same bits with and without it. That instruction takes
// subnormal numbers for zero, hence FlushSubnormals (flush_subnormals.h).
#pragma once

#include <cstdint>

namespace pagoda {
namespace {

template <class V>
struct F32Pairs {
  using Element = float;
  using Operand = float;

  V even;
  V odd;

  static F32Pairs load(const Element* p) {
    F32Pairs pairs;
    V::load_pairs(p, pairs.even, pairs.odd);
    return pairs;
  }
  // 16 operands as they are used from here on; returns their values.
  static V store_operands(V values, Operand* out) {
    values.store(out);
    return values;
  }
  // The same for weights, of which none is a subnormal number.
  static V store_weights(V values, Operand* out) { return store_operands(values, out); }
  static V multiply_add(const Operand* pair, const F32Pairs& x, V acc) {
    return V::fma(V::set1(pair[0]), x.even, V::fma(V::set1(pair[1]), x.odd, acc));
  }
  // The same with one element of each pair.
  static V multiply_add_even(Operand operand, const F32Pairs& x, V acc) {
    return V::fma(V::set1(operand), x.even, acc);
  }
  static V multiply_add_odd(Operand operand, const F32Pairs& x, V acc) {
    return V::fma(V::set1(operand), x.odd, acc);
  }
};

// bf16 elements by f32 arithmetic; operands are rounded to bf16, but kept as f32.
template <class V>
struct Bf16Pairs : F32Pairs<V> {
  using Element = uint16_t;
  using Operand = float;

  static Bf16Pairs load(const Element* p) {
    Bf16Pairs pairs;
    V::load_pairs_bf16(p, pairs.even, pairs.odd);
    return pairs;
  }
  static V store_operands(V values, Operand* out) {
    const V rounded = V::round_to_bf16(values);
    rounded.store(out);
    return rounded;
  }
  static V store_weights(V values, Operand* out) { return store_operands(values, out); }
};

}  // namespace
}  // namespace pagoda
