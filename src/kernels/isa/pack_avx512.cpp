// Packing 16 rows at a time.
#include <immintrin.h>

#include "kernels/isa/outline_body.h"
#include "kernels/isa/tables.h"

namespace pagoda::isa_avx512 {

namespace {

class Rows16 {
 public:
  static constexpr int kNum = 16;
  using Word = uint32_t __attribute__((vector_size(64)));

  PAGODA_INLINE Rows16(const std::byte* const* rows, int, int64_t offset) : rows_(rows), offset_(offset) {}

  // 4 words of 16 rows, transposed: lane r of out[i] is word i of row r.
  PAGODA_INLINE void load4(int offset, Word* out) const {
    __m512i v[4];
    PAGODA_UNROLL for (int i = 0; i < 4; ++i) {
      v[i] = _mm512_castsi128_si512(at(i, offset));
      v[i] = _mm512_inserti32x4(v[i], at(4 + i, offset), 1);
      v[i] = _mm512_inserti32x4(v[i], at(8 + i, offset), 2);
      v[i] = _mm512_inserti32x4(v[i], at(12 + i, offset), 3);
    }
    const __m512i low01 = _mm512_unpacklo_epi32(v[0], v[1]);
    const __m512i low23 = _mm512_unpacklo_epi32(v[2], v[3]);
    const __m512i high01 = _mm512_unpackhi_epi32(v[0], v[1]);
    const __m512i high23 = _mm512_unpackhi_epi32(v[2], v[3]);
    out[0] = reinterpret_cast<Word>(_mm512_unpacklo_epi64(low01, low23));
    out[1] = reinterpret_cast<Word>(_mm512_unpackhi_epi64(low01, low23));
    out[2] = reinterpret_cast<Word>(_mm512_unpacklo_epi64(high01, high23));
    out[3] = reinterpret_cast<Word>(_mm512_unpackhi_epi64(high01, high23));
  }
  PAGODA_INLINE void store_words(Word word, uint8_t* out) const { _mm512_storeu_si512(out, vector(word)); }
  PAGODA_INLINE void store_halves(Word word, uint8_t* out) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm512_cvtepi32_epi16(vector(word)));
  }
  PAGODA_INLINE void store_bytes(Word word, uint8_t* out) const {
    const __m128i four = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i by_byte = _mm512_shuffle_epi8(vector(word), _mm512_broadcast_i32x4(four));
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm512_storeu_si512(out, _mm512_permutexvar_epi32(order, by_byte));
  }
  PAGODA_INLINE static Word look_up(const uint8_t* table, Word indices) {
    const __m128i row = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
    return reinterpret_cast<Word>(_mm512_shuffle_epi8(_mm512_broadcast_i32x4(row), vector(indices)));
  }
  PAGODA_INLINE static Word select(uint32_t mask, Word a, Word b) {
    constexpr int kMaskAOrB = 0xca;
    return reinterpret_cast<Word>(_mm512_ternarylogic_epi32(_mm512_set1_epi32(static_cast<int>(mask)),
                                                            vector(a), vector(b), kMaskAOrB));
  }

 private:
  PAGODA_INLINE static __m512i vector(Word word) { return reinterpret_cast<__m512i>(word); }
  PAGODA_INLINE __m128i at(int row, int offset) const {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows_[row] + offset_ + offset));
  }

  const std::byte* const* rows_;
  int64_t offset_;
};

}  // namespace

void pack_blocks(DType dtype, const std::byte* const* rows, int64_t num_blocks, std::byte* out) noexcept {
  pack_blocks_of<Rows16>(dtype, rows, num_blocks, out);
}

void pack_outline(DType dtype, const std::byte* const* rows, int64_t num_blocks, std::byte* outline,
                  std::byte* details) noexcept {
  pack_outline_of<Rows16>(dtype, rows, num_blocks, outline, details);
}

void join_outline(DType dtype, const std::byte* outline, const std::byte* details, int64_t num_blocks,
                  std::byte* out) noexcept {
  join_outline_of<Rows16>(dtype, outline, details, num_blocks, out);
}

}  // namespace pagoda::isa_avx512
