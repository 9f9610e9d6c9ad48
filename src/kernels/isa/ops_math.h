// Elementary functions over a 16-lane vector type V: the same operations in the same order on every ISA.
// V lives in an unnamed namespace of its ISA, so the instantiations are local to their object file.
#pragma once

namespace pagoda {

template <class V>
struct Math {
  // e^x within 2 units in the last place; 0 below -87, saturating at e^88; NaN stays NaN.
  // Cody-Waite reduction x = n ln 2 + r, then a polynomial of degree 6 on |r| <= ln 2 / 2.
  static V exp(V x) {
    const V lowest = V::set1(-87.0f);
    const V clamped = V::max(V::min(x, V::set1(88.0f)), lowest);
    const V rounder = V::set1(12582912.0f);  // 1.5 * 2^23
    const V shifted = V::fma(clamped, V::set1(1.44269504f), rounder);
    const V n = shifted - rounder;
    V r = V::fnma(n, V::set1(0.693359375f), clamped);
    r = V::fnma(n, V::set1(-2.12194440e-4f), r);
    V p = V::set1(1.9875691500e-4f);
    p = V::fma(p, r, V::set1(1.3981999507e-3f));
    p = V::fma(p, r, V::set1(8.3334519073e-3f));
    p = V::fma(p, r, V::set1(4.1665795894e-2f));
    p = V::fma(p, r, V::set1(1.6666665459e-1f));
    p = V::fma(p, r, V::set1(5.0000001201e-1f));
    const V r2 = r * r;
    p = V::fma(p, r2, r) + V::set1(1.0f);
    const V result = V::add_exponent(p, shifted);
    return V::select_nan(x, x, V::select_less(x, lowest, V::set1(0.0f), result));
  }

  // Odd polynomial for small |x|, 1 - 2 / (e^2|x| + 1) elsewhere.
  static V tanh(V x) {
    const V magnitude = V::abs(x);
    const V z = x * x;
    V p = V::set1(-5.70498872745e-3f);
    p = V::fma(p, z, V::set1(2.06390887954e-2f));
    p = V::fma(p, z, V::set1(-5.37397155531e-2f));
    p = V::fma(p, z, V::set1(1.33314422036e-1f));
    p = V::fma(p, z, V::set1(-3.33332819422e-1f));
    const V small = V::fma(p * z, x, x);
    const V one = V::set1(1.0f);
    const V large = V::copy_sign(one - V::set1(2.0f) / (exp(magnitude + magnitude) + one), x);
    return V::select_nan(x, x, V::select_less(magnitude, V::set1(0.625f), small, large));
  }

  // Abramowitz and Stegun 7.1.26: absolute error below 2e-7.
  static V erf(V x) {
    const V magnitude = V::abs(x);
    const V one = V::set1(1.0f);
    const V t = one / V::fma(V::set1(0.3275911f), magnitude, one);
    V p = V::set1(1.061405429f);
    p = V::fma(p, t, V::set1(-1.453152027f));
    p = V::fma(p, t, V::set1(1.421413741f));
    p = V::fma(p, t, V::set1(-0.284496736f));
    p = V::fma(p, t, V::set1(0.254829592f));
    const V tail = p * t * exp(V::set1(0.0f) - magnitude * magnitude);
    return V::copy_sign(one - tail, x);
  }

  static V silu(V x) {
    const V one = V::set1(1.0f);
    return x / (one + exp(V::set1(0.0f) - x));
  }
  static V gelu_tanh(V x) {
    const V cubic = V::fma(V::set1(0.044715f) * x * x, x, x);
    const V half = V::set1(0.5f) * x;
    return V::fma(half, tanh(V::set1(0.797884561f) * cubic), half);
  }
  static V gelu_erf(V x) {
    const V half = V::set1(0.5f) * x;
    return V::fma(half, erf(V::set1(0.707106781f) * x), half);
  }
  static V relu(V x) { return V::select_nan(x, x, V::max(x, V::set1(0.0f))); }
};

}  // namespace pagoda
