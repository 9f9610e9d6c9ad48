// 16 lanes of f32 in two registers; every function gives the bits of vec_scalar.h.
#pragma once

#include <cstdint>

#include <immintrin.h>

namespace pagoda::isa_avx2 {

namespace {

struct F32x16 {
  static constexpr int kRowTile = 4;
  static constexpr int kSideBySide = 1;

  __m256 lo;
  __m256 hi;

  // All bits set in the lanes below n.
  static __m256i below(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }

  static F32x16 set1(float value) { return {_mm256_set1_ps(value), _mm256_set1_ps(value)}; }
  static F32x16 load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  static F32x16 load_n(const float* p, int n) {
    return {_mm256_maskload_ps(p, below(n)),
            n > 8 ? _mm256_maskload_ps(p + 8, below(n - 8)) : _mm256_setzero_ps()};
  }
  void store(float* p) const {
    _mm256_storeu_ps(p, lo);
    _mm256_storeu_ps(p + 8, hi);
  }
  void store_n(float* p, int n) const {
    _mm256_maskstore_ps(p, below(n), lo);
    if (n > 8) _mm256_maskstore_ps(p + 8, below(n - 8), hi);
  }
  static void split_pairs(__m256 a, __m256 b, __m256& even, __m256& odd) {
    const __m256 mixed_even = _mm256_shuffle_ps(a, b, 0x88);
    const __m256 mixed_odd = _mm256_shuffle_ps(a, b, 0xdd);
    even = _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(mixed_even), 0xd8));
    odd = _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(mixed_odd), 0xd8));
  }
  static void load_pairs(const float* p, F32x16& even, F32x16& odd) {
    split_pairs(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8), even.lo, odd.lo);
    split_pairs(_mm256_loadu_ps(p + 16), _mm256_loadu_ps(p + 24), even.hi, odd.hi);
  }
  static void load_pairs_bf16(const uint16_t* p, F32x16& even, F32x16& odd) {
    const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 16));
    const __m256i high = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
    even = {_mm256_castsi256_ps(_mm256_slli_epi32(a, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(b, 16))};
    odd = {_mm256_castsi256_ps(_mm256_and_si256(a, high)), _mm256_castsi256_ps(_mm256_and_si256(b, high))};
  }

  static __m256 load_half_bf16(const uint16_t* p) {
    const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
  }
  static F32x16 load_bf16(const uint16_t* p) { return {load_half_bf16(p), load_half_bf16(p + 8)}; }

  static __m256 round_half_to_bf16(__m256 a) {
    const __m256i bits = _mm256_castps_si256(a);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q));
    return _mm256_castsi256_ps(_mm256_and_si256(_mm256_blendv_epi8(rounded, quiet, is_nan),
                                                _mm256_set1_epi32(static_cast<int>(0xffff0000u))));
  }
  static F32x16 round_to_bf16(F32x16 a) { return {round_half_to_bf16(a.lo), round_half_to_bf16(a.hi)}; }
  static void store_half_pairs_bf16(__m256 even, __m256 odd, uint16_t* p) {
    const __m256i low = _mm256_srli_epi32(_mm256_castps_si256(round_half_to_bf16(even)), 16);
    const __m256i high = _mm256_castps_si256(round_half_to_bf16(odd));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_or_si256(low, high));
  }
  static void store_pairs_bf16(F32x16 even, F32x16 odd, uint16_t* p) {
    store_half_pairs_bf16(even.lo, odd.lo, p);
    store_half_pairs_bf16(even.hi, odd.hi, p + 16);
  }

  static F32x16 fma(F32x16 a, F32x16 b, F32x16 c) {
    return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
  }
  static F32x16 fnma(F32x16 a, F32x16 b, F32x16 c) {
    return {_mm256_fnmadd_ps(a.lo, b.lo, c.lo), _mm256_fnmadd_ps(a.hi, b.hi, c.hi)};
  }
  friend F32x16 operator+(F32x16 a, F32x16 b) {
    return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
  }
  friend F32x16 operator-(F32x16 a, F32x16 b) {
    return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
  }
  friend F32x16 operator*(F32x16 a, F32x16 b) {
    return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
  }
  friend F32x16 operator/(F32x16 a, F32x16 b) {
    return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
  }
  static F32x16 max(F32x16 a, F32x16 b) { return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }
  static F32x16 min(F32x16 a, F32x16 b) { return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)}; }
  static F32x16 abs(F32x16 a) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return {_mm256_andnot_ps(sign, a.lo), _mm256_andnot_ps(sign, a.hi)};
  }
  static F32x16 copy_sign(F32x16 a, F32x16 b) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return {_mm256_or_ps(_mm256_andnot_ps(sign, a.lo), _mm256_and_ps(sign, b.lo)),
            _mm256_or_ps(_mm256_andnot_ps(sign, a.hi), _mm256_and_ps(sign, b.hi))};
  }
  static F32x16 select_less(F32x16 a, F32x16 b, F32x16 yes, F32x16 no) {
    return {_mm256_blendv_ps(no.lo, yes.lo, _mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ)),
            _mm256_blendv_ps(no.hi, yes.hi, _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ))};
  }
  static F32x16 select_nan(F32x16 a, F32x16 yes, F32x16 no) {
    return {_mm256_blendv_ps(no.lo, yes.lo, _mm256_cmp_ps(a.lo, a.lo, _CMP_UNORD_Q)),
            _mm256_blendv_ps(no.hi, yes.hi, _mm256_cmp_ps(a.hi, a.hi, _CMP_UNORD_Q))};
  }
  static __m256 select_half(uint32_t bits, __m256 yes, __m256 no) {
    const __m256i lane_bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i set = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(bits)), lane_bits);
    return _mm256_blendv_ps(no, yes, _mm256_castsi256_ps(_mm256_cmpeq_epi32(set, lane_bits)));
  }
  static F32x16 select_bits(uint32_t bits, F32x16 yes, F32x16 no) {
    return {select_half(bits, yes.lo, no.lo), select_half(bits >> 8, yes.hi, no.hi)};
  }
  static __m256 keep_half(__m256 a, int begin, int end, __m256 other) {
    const __m256i inside = _mm256_andnot_si256(below(begin), below(end));
    return _mm256_blendv_ps(other, a, _mm256_castsi256_ps(inside));
  }
  static F32x16 keep(F32x16 a, int begin, int end, F32x16 other) {
    return {keep_half(a.lo, begin, end, other.lo), keep_half(a.hi, begin - 8, end - 8, other.hi)};
  }
  static __m256 add_exponent_half(__m256 p, __m256 t) {
    return _mm256_castsi256_ps(
        _mm256_add_epi32(_mm256_castps_si256(p), _mm256_slli_epi32(_mm256_castps_si256(t), 23)));
  }
  static F32x16 add_exponent(F32x16 p, F32x16 t) {
    return {add_exponent_half(p.lo, t.lo), add_exponent_half(p.hi, t.hi)};
  }
  static float sum(F32x16 a) {
    const __m256 eight = _mm256_add_ps(a.lo, a.hi);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
  }
  template <int Bit>
  static F32x16 exchange(F32x16 a) {
    if constexpr (Bit == 8) return {a.hi, a.lo};
    if constexpr (Bit == 4)
      return {_mm256_permute2f128_ps(a.lo, a.lo, 1), _mm256_permute2f128_ps(a.hi, a.hi, 1)};
    constexpr int kOrder = Bit == 2 ? 0x4e : 0xb1;
    return {_mm256_permute_ps(a.lo, kOrder), _mm256_permute_ps(a.hi, kOrder)};
  }
  static float max_lane(F32x16 a) {
    const __m256 eight = _mm256_max_ps(a.lo, a.hi);
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
  }
};

// 16 integers in two registers.
struct I32x16 {
  static constexpr int kSideBySide = 1;  // sums of a row that are best computed together

  // Of int16.
  struct Pairs {
    __m256i lo;
    __m256i hi;
  };
  using Factors = __m256i;

  __m256i lo;
  __m256i hi;

  static __m256i widen(const int8_t* p) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }

  static I32x16 zero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
  static Pairs load_pairs(const int8_t* p) { return {widen(p), widen(p + 16)}; }
  static Factors load_factors(const int16_t* p) {
    int32_t both;
    __builtin_memcpy(&both, p, sizeof both);
    return _mm256_set1_epi32(both);
  }
  static I32x16 dot(I32x16 acc, Pairs pairs, Factors factors) {
    return {_mm256_add_epi32(acc.lo, _mm256_madd_epi16(pairs.lo, factors)),
            _mm256_add_epi32(acc.hi, _mm256_madd_epi16(pairs.hi, factors))};
  }
  static F32x16 to_float(I32x16 a) { return {_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)}; }
  static void store_low_halves(F32x16 a, int16_t* p) {
    const auto low = [](__m256 x) {
      return _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0xffff));
    };
    const __m256i mixed = _mm256_packus_epi32(low(a.lo), low(a.hi));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permute4x64_epi64(mixed, 0xd8));
  }
};

}  // namespace

}  // namespace pagoda::isa_avx2
