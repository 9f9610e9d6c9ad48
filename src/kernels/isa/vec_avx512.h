// 16 lanes of f32 in one register; every function gives the bits of vec_scalar.h.
#pragma once

#include <cstdint>

#include <immintrin.h>

namespace pagoda::isa_avx512 {

namespace {

struct F32x16 {
  static constexpr int kRowTile = 8;
  static constexpr int kSideBySide = 2;

  __m512 v;

  static __mmask16 first(int n) { return static_cast<__mmask16>((1u << n) - 1); }

  static F32x16 set1(float value) { return {_mm512_set1_ps(value)}; }
  static F32x16 load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static F32x16 load_n(const float* p, int n) { return {_mm512_maskz_loadu_ps(first(n), p)}; }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  void store_n(float* p, int n) const { _mm512_mask_storeu_ps(p, first(n), v); }
  static void load_pairs(const float* p, F32x16& even, F32x16& odd) {
    const __m512 a = _mm512_loadu_ps(p);
    const __m512 b = _mm512_loadu_ps(p + 16);
    const __m512i even_lanes = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd_lanes = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    even.v = _mm512_permutex2var_ps(a, even_lanes, b);
    odd.v = _mm512_permutex2var_ps(a, odd_lanes, b);
  }
  static void load_pairs_bf16(const uint16_t* p, F32x16& even, F32x16& odd) {
    const __m512i pairs = _mm512_loadu_si512(p);
    even.v = _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
    odd.v = _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
  }

  static F32x16 load_bf16(const uint16_t* p) {
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16))};
  }

  static F32x16 round_to_bf16(F32x16 a) {
    const __m512i bits = _mm512_castps_si512(a.v);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
    const __mmask16 is_nan = _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
    const __m512i value = _mm512_mask_or_epi32(rounded, is_nan, bits, _mm512_set1_epi32(0x400000));
    return {_mm512_castsi512_ps(_mm512_and_si512(value, _mm512_set1_epi32(static_cast<int>(0xffff0000u))))};
  }
  static void store_pairs_bf16(F32x16 even, F32x16 odd, uint16_t* p) {
    const __m512i low = _mm512_srli_epi32(_mm512_castps_si512(round_to_bf16(even).v), 16);
    _mm512_storeu_si512(p, _mm512_or_si512(low, _mm512_castps_si512(round_to_bf16(odd).v)));
  }

  static F32x16 fma(F32x16 a, F32x16 b, F32x16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  static F32x16 fnma(F32x16 a, F32x16 b, F32x16 c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }
  friend F32x16 operator+(F32x16 a, F32x16 b) { return {_mm512_add_ps(a.v, b.v)}; }
  friend F32x16 operator-(F32x16 a, F32x16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
  friend F32x16 operator*(F32x16 a, F32x16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
  friend F32x16 operator/(F32x16 a, F32x16 b) { return {_mm512_div_ps(a.v, b.v)}; }
  static F32x16 max(F32x16 a, F32x16 b) { return {_mm512_max_ps(a.v, b.v)}; }
  static F32x16 min(F32x16 a, F32x16 b) { return {_mm512_min_ps(a.v, b.v)}; }
  static F32x16 abs(F32x16 a) { return {_mm512_andnot_ps(_mm512_set1_ps(-0.0f), a.v)}; }
  static F32x16 copy_sign(F32x16 a, F32x16 b) {
    const __m512 sign = _mm512_set1_ps(-0.0f);
    return {_mm512_or_ps(_mm512_andnot_ps(sign, a.v), _mm512_and_ps(sign, b.v))};
  }
  static F32x16 select_less(F32x16 a, F32x16 b, F32x16 yes, F32x16 no) {
    return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), no.v, yes.v)};
  }
  static F32x16 select_nan(F32x16 a, F32x16 yes, F32x16 no) {
    return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q), no.v, yes.v)};
  }
  static F32x16 select_bits(uint32_t bits, F32x16 yes, F32x16 no) {
    return {_mm512_mask_blend_ps(static_cast<__mmask16>(bits), no.v, yes.v)};
  }
  static F32x16 keep(F32x16 a, int begin, int end, F32x16 other) {
    const auto mask = static_cast<__mmask16>(((1u << end) - 1) & ~((1u << begin) - 1));
    return {_mm512_mask_blend_ps(mask, other.v, a.v)};
  }
  static F32x16 add_exponent(F32x16 p, F32x16 t) {
    return {_mm512_castsi512_ps(
        _mm512_add_epi32(_mm512_castps_si512(p.v), _mm512_slli_epi32(_mm512_castps_si512(t.v), 23)))};
  }
  // p * 2^n, a normal number or NaN, but 0 where x < lowest: one instruction for add_exponent() and a select.
  static F32x16 scale_unless_less(F32x16 x, F32x16 lowest, F32x16 p, F32x16 n) {
    const __mmask16 not_less = _mm512_cmp_ps_mask(x.v, lowest.v, _CMP_NLT_UQ);
    return {_mm512_maskz_scalef_ps(not_less, p.v, n.v)};
  }
  static float sum(F32x16 a) {
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
  }
  template <int Bit>
  static F32x16 exchange(F32x16 a) {
    if constexpr (Bit == 8) return {_mm512_shuffle_f32x4(a.v, a.v, 0x4e)};
    if constexpr (Bit == 4) return {_mm512_shuffle_f32x4(a.v, a.v, 0xb1)};
    return {_mm512_permute_ps(a.v, Bit == 2 ? 0x4e : 0xb1)};
  }
  static float max_lane(F32x16 a) {
    const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
  }
};

// 16 integers in one register.
struct I32x16 {
  static constexpr int kSideBySide = 2;  // sums of a row that are best computed together

  using Pairs = __m512i;  // of int16
  using Factors = __m512i;

  __m512i v;

  static I32x16 zero() { return {_mm512_setzero_si512()}; }
  static Pairs load_pairs(const int8_t* p) {
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static Factors load_factors(const int16_t* p) {
    int32_t both;
    __builtin_memcpy(&both, p, sizeof both);
    return _mm512_set1_epi32(both);
  }
  // Not the intrinsic: GCC 12 copies its accumulator to another register and back, each time.
  static I32x16 dot(I32x16 acc, Pairs pairs, Factors factors) {
    asm("vpdpwssd %2, %1, %0" : "+v"(acc.v) : "v"(pairs), "v"(factors));
    return acc;
  }
  static F32x16 to_float(I32x16 a) { return {_mm512_cvtepi32_ps(a.v)}; }
  static void store_low_halves(F32x16 a, int16_t* p) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(_mm512_castps_si512(a.v)));
  }
};

}  // namespace

}  // namespace pagoda::isa_avx512
