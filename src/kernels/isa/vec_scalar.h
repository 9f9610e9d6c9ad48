// 16 lanes of f32 in plain C++: the definition of what the vector types of the other ISAs do.
#pragma once

#include <cstdint>
#include <cstring>

#include "tensor/half.h"

namespace pagoda::isa_scalar {

namespace {

struct F32x16 {
  static constexpr int kRowTile = 4;  // query rows that attention computes together, 8 at most
  static constexpr int kSideBySide =
      1;  // pages, or blocks of dims, for which it does so at a time, 2 at most

  float lane[16];

  template <class F>
  static F32x16 make(F&& f) {
    F32x16 r;
    for (int i = 0; i < 16; ++i) r.lane[i] = f(i);
    return r;
  }
  static float from_bits(uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }
  static uint32_t to_bits(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
  }

  static F32x16 set1(float value) {
    return make([&](int) { return value; });
  }
  static F32x16 load(const float* p) {
    return make([&](int i) { return p[i]; });
  }
  // The first n lanes, zero in the others.
  static F32x16 load_n(const float* p, int n) {
    return make([&](int i) { return i < n ? p[i] : 0.0f; });
  }
  void store(float* p) const {
    for (int i = 0; i < 16; ++i) p[i] = lane[i];
  }
  void store_n(float* p, int n) const {
    for (int i = 0; i < n; ++i) p[i] = lane[i];
  }
  // 16 pairs: the first elements in `even`, the second in `odd`.
  static void load_pairs(const float* p, F32x16& even, F32x16& odd) {
    for (int i = 0; i < 16; ++i) {
      even.lane[i] = p[2 * i];
      odd.lane[i] = p[2 * i + 1];
    }
  }
  static void load_pairs_bf16(const uint16_t* p, F32x16& even, F32x16& odd) {
    for (int i = 0; i < 16; ++i) {
      even.lane[i] = from_bits(uint32_t{p[2 * i]} << 16);
      odd.lane[i] = from_bits(uint32_t{p[2 * i + 1]} << 16);
    }
  }
  // The inverse, rounded to nearest.
  static void store_pairs_bf16(F32x16 even, F32x16 odd, uint16_t* p) {
    for (int i = 0; i < 16; ++i) {
      p[2 * i] = f32_to_bf16(even.lane[i]);
      p[2 * i + 1] = f32_to_bf16(odd.lane[i]);
    }
  }

  static F32x16 load_bf16(const uint16_t* p) {
    return make([&](int i) { return bf16_to_f32(p[i]); });
  }

  // To the nearest bf16, as f32.
  static F32x16 round_to_bf16(F32x16 a) {
    return make([&](int i) { return bf16_to_f32(f32_to_bf16(a.lane[i])); });
  }

  // a * b + c with one rounding
  static F32x16 fma(F32x16 a, F32x16 b, F32x16 c) {
    return make([&](int i) { return __builtin_fmaf(a.lane[i], b.lane[i], c.lane[i]); });
  }
  // c - a * b with one rounding
  static F32x16 fnma(F32x16 a, F32x16 b, F32x16 c) {
    return make([&](int i) { return __builtin_fmaf(-a.lane[i], b.lane[i], c.lane[i]); });
  }
  friend F32x16 operator+(F32x16 a, F32x16 b) {
    return make([&](int i) { return a.lane[i] + b.lane[i]; });
  }
  friend F32x16 operator-(F32x16 a, F32x16 b) {
    return make([&](int i) { return a.lane[i] - b.lane[i]; });
  }
  friend F32x16 operator*(F32x16 a, F32x16 b) {
    return make([&](int i) { return a.lane[i] * b.lane[i]; });
  }
  friend F32x16 operator/(F32x16 a, F32x16 b) {
    return make([&](int i) { return a.lane[i] / b.lane[i]; });
  }
  // b where either is NaN or the two are equal.
  static F32x16 max(F32x16 a, F32x16 b) {
    return make([&](int i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
  }
  static F32x16 min(F32x16 a, F32x16 b) {
    return make([&](int i) { return a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]; });
  }
  static F32x16 abs(F32x16 a) {
    return make([&](int i) { return from_bits(to_bits(a.lane[i]) & 0x7fffffffu); });
  }
  // The magnitude of a with the sign of b.
  static F32x16 copy_sign(F32x16 a, F32x16 b) {
    return make([&](int i) {
      return from_bits((to_bits(a.lane[i]) & 0x7fffffffu) | (to_bits(b.lane[i]) & 0x80000000u));
    });
  }
  // a < b ? yes : no (no where either is NaN)
  static F32x16 select_less(F32x16 a, F32x16 b, F32x16 yes, F32x16 no) {
    return make([&](int i) { return a.lane[i] < b.lane[i] ? yes.lane[i] : no.lane[i]; });
  }
  static F32x16 select_nan(F32x16 a, F32x16 yes, F32x16 no) {
    return make([&](int i) { return a.lane[i] != a.lane[i] ? yes.lane[i] : no.lane[i]; });
  }
  // Lane i of yes where bit i is set, of no elsewhere.
  static F32x16 select_bits(uint32_t bits, F32x16 yes, F32x16 no) {
    return make([&](int i) { return (bits >> i & 1u) != 0 ? yes.lane[i] : no.lane[i]; });
  }
  // Lanes [begin, end) of a, `other` elsewhere.
  static F32x16 keep(F32x16 a, int begin, int end, F32x16 other) {
    return make([&](int i) { return i >= begin && i < end ? a.lane[i] : other.lane[i]; });
  }
  // p * 2^n, where the integer n stands in the low bits of t's mantissa and the product is a normal number.
  static F32x16 add_exponent(F32x16 p, F32x16 t) {
    return make([&](int i) { return from_bits(to_bits(p.lane[i]) + (to_bits(t.lane[i]) << 23)); });
  }
  // Lane i + lane i + 8, then + 4, + 2, + 1.
  static float sum(F32x16 a) {
    for (int step = 8; step > 0; step /= 2)
      for (int i = 0; i < step; ++i) a.lane[i] = a.lane[i] + a.lane[i + step];
    return a.lane[0];
  }
  // Each lane gets the value of the lane whose number differs in that bit: 1, 2, 4 or 8.
  template <int Bit>
  static F32x16 exchange(F32x16 a) {
    return make([&](int i) { return a.lane[i ^ Bit]; });
  }
  static float max_lane(F32x16 a) {
    for (int step = 8; step > 0; step /= 2)
      for (int i = 0; i < step; ++i) a.lane[i] = a.lane[i] > a.lane[i + step] ? a.lane[i] : a.lane[i + step];
    return a.lane[0];
  }
};

// 16 integers, sums of products.
struct I32x16 {
  static constexpr int kSideBySide = 1;  // sums of a row that are best computed together

  // 16 pairs of int8.
  struct Pairs {
    const int8_t* p;
  };
  // A pair of int16 for all of them.
  struct Factors {
    int16_t first;
    int16_t second;
  };

  int32_t lane[16];

  static I32x16 zero() { return {}; }
  static Pairs load_pairs(const int8_t* p) { return {p}; }
  static Factors load_factors(const int16_t* p) { return {p[0], p[1]}; }
  // acc + the sums of the pairs' products with the factors. Wraps around.
  static I32x16 dot(I32x16 acc, Pairs pairs, Factors factors) {
    for (int i = 0; i < 16; ++i)
      acc.lane[i] = static_cast<int32_t>(
          static_cast<uint32_t>(acc.lane[i]) +
          static_cast<uint32_t>(pairs.p[2 * i] * factors.first + pairs.p[2 * i + 1] * factors.second));
    return acc;
  }
  static F32x16 to_float(I32x16 a) {
    return F32x16::make([&](int i) { return static_cast<float>(a.lane[i]); });
  }
  // The low halves of the lanes' bits.
  static void store_low_halves(F32x16 a, int16_t* p) {
    for (int i = 0; i < 16; ++i) p[i] = static_cast<int16_t>(F32x16::to_bits(a.lane[i]));
  }
};

}  // namespace

}  // namespace pagoda::isa_scalar
