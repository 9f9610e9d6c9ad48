// Elementary functions over a 16-lane vector type V: the same operations in the same order on every ISA.
// V lives in an unnamed namespace of its ISA, so the instantiations are local to their object file.
#pragma once

#include <cstdint>

namespace pagoda {

template <class V>
struct Math {
  // 1.5 * 2^23: adding it rounds to an integer, which then stands in the low bits.
  static constexpr float kIntegerRounder = 12582912.0f;

  // e^x within 1.5 units in the last place; 0 below -87, where results would soon be subnormal; infinite
  // above the logarithm of the greatest float; NaN stays NaN.
  static V exp(V x) {
    const V lowest = V::set1(kLowestExponent);
    const V highest = V::set1(88.72283f);  // n = 128 there, but p < 1, so that p * 2^n is finite
    const ExpParts parts = exp_parts(V::max(V::min(x, highest), lowest));
    const V result = V::add_exponent(parts.p, parts.shifted_n);
    return unless_low(x, V::select_less(highest, x, V::set1(__builtin_inff()), result));
  }
  // The same bits for x <= 0 and NaN.
  static V exp_of_nonpositive(V x) {
    const V lowest = V::set1(kLowestExponent);
    const ExpParts parts = exp_parts(x);
    // p and n of a NaN are NaN, and so is their product.
    if constexpr (requires { V::scale_unless_less(x, lowest, parts.p, parts.n); })
      return V::scale_unless_less(x, lowest, parts.p, parts.n);
    else
      return unless_low(x, V::add_exponent(parts.p, parts.shifted_n));
  }

  // Natural logarithm within 1 unit in the last place; -infinity at 0, NaN below.
  // x = 2^n m with sqrt(1/2) <= m < sqrt(2), then log m = 2 artanh((m - 1) / (m + 1)) by its series.
  static float log(float x) {
    if (!(x > 0.0f)) return x == 0.0f ? -__builtin_inff() : __builtin_nanf("");
    if (x == __builtin_inff()) return x;
    const bool subnormal = x < 0x1p-126f;
    const auto bits = __builtin_bit_cast(uint32_t, subnormal ? x * 0x1p23f : x);
    const uint32_t root_half = 0x3f3504f3;
    const int exponent = static_cast<int>(bits - root_half) >> 23;
    const auto m = __builtin_bit_cast(float, bits - (static_cast<uint32_t>(exponent) << 23));
    const auto n = static_cast<float>(subnormal ? exponent - 23 : exponent);
    const float f = m - 1.0f;
    const float s = f / (m + 1.0f);
    const float z = s * s;
    float p = 2.0f / 9;
    p = __builtin_fmaf(p, z, 2.0f / 7);
    p = __builtin_fmaf(p, z, 2.0f / 5);
    p = __builtin_fmaf(p, z, 2.0f / 3);
    // 2 s = f - s f, which keeps the rounding of s out of the leading term.
    const float tail = __builtin_fmaf(p * z, s, -s * f);
    return __builtin_fmaf(n, 0.693359375f, __builtin_fmaf(n, -2.12194440e-4f, tail) + f);
  }

  // Within 1.5 units in the last place: an odd polynomial for small |x|, 1 - 2 / (e^2|x| + 1) elsewhere.
  static V tanh(V x) {
    const V magnitude = V::abs(x);
    const V z = x * x;
    V p = V::set1(-5.70498872745e-3f);
    p = V::fma(p, z, V::set1(2.06390887954e-2f));
    p = V::fma(p, z, V::set1(-5.37397155531e-2f));
    p = V::fma(p, z, V::set1(1.33314422036e-1f));
    p = V::fma(p, z, V::set1(-3.33332819422e-1f));
    const V small = V::fma(p * z, magnitude, magnitude);
    const V one = V::set1(1.0f);
    const V large = one - V::set1(2.0f) / (exp(magnitude + magnitude) + one);
    return V::copy_sign(V::select_less(magnitude, V::set1(0.625f), small, large), x);
  }

  // Abramowitz and Stegun 7.1.26: absolute error below 5e-7, 2e-7 of it from the formula.
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

 private:
  static constexpr float kLowestExponent = -87.0f;

  // e^x = p * 2^n
  struct ExpParts {
    V p;
    V n;
    V shifted_n;  // n + kIntegerRounder
  };
  // result, but 0 for an x below kLowestExponent and NaN for NaN.
  static V unless_low(V x, V result) {
    return V::select_nan(x, x, V::select_less(x, V::set1(kLowestExponent), V::set1(0.0f), result));
  }
  // Cody-Waite reduction x = n ln 2 + r, then a polynomial of degree 6 on |r| <= ln 2 / 2.
  static ExpParts exp_parts(V x) {
    const V rounder = V::set1(kIntegerRounder);
    const V shifted = V::fma(x, V::set1(1.44269504f), rounder);
    const V n = shifted - rounder;
    V r = V::fnma(n, V::set1(0.693359375f), x);
    r = V::fnma(n, V::set1(-2.12194440e-4f), r);
    V p = V::set1(1.9875691500e-4f);
    p = V::fma(p, r, V::set1(1.3981999507e-3f));
    p = V::fma(p, r, V::set1(8.3334519073e-3f));
    p = V::fma(p, r, V::set1(4.1665795894e-2f));
    p = V::fma(p, r, V::set1(1.6666665459e-1f));
    p = V::fma(p, r, V::set1(5.0000001201e-1f));
    const V r2 = r * r;
    return {V::fma(p, r2, r) + V::set1(1.0f), n, shifted};
  }
};

}  // namespace pagoda
