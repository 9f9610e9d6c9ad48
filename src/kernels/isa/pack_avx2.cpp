// Packing 8 rows at a time.
#include <immintrin.h>

#include "kernels/isa/outline_body.h"
#include "kernels/isa/tables.h"

namespace pagoda::isa_avx2 {

namespace {

class Rows8 {
 public:
  static constexpr int kNum = 8;
  using Word = uint32_t __attribute__((vector_size(32)));

  PAGODA_INLINE Rows8(const std::byte* const* rows, int first, int64_t offset)
      : rows_(rows + first), first_(first), offset_(offset) {}

  // 4 words of 8 rows, transposed: lane r of out[i] is word i of row r.
  PAGODA_INLINE void load4(int offset, Word* out) const {
    __m256i v[4];
    PAGODA_UNROLL for (int i = 0; i < 4; ++i) v[i] = _mm256_set_m128i(at(4 + i, offset), at(i, offset));
    const __m256i low01 = _mm256_unpacklo_epi32(v[0], v[1]);
    const __m256i low23 = _mm256_unpacklo_epi32(v[2], v[3]);
    const __m256i high01 = _mm256_unpackhi_epi32(v[0], v[1]);
    const __m256i high23 = _mm256_unpackhi_epi32(v[2], v[3]);
    out[0] = reinterpret_cast<Word>(_mm256_unpacklo_epi64(low01, low23));
    out[1] = reinterpret_cast<Word>(_mm256_unpackhi_epi64(low01, low23));
    out[2] = reinterpret_cast<Word>(_mm256_unpacklo_epi64(high01, high23));
    out[3] = reinterpret_cast<Word>(_mm256_unpackhi_epi64(high01, high23));
  }
  PAGODA_INLINE void store_words(Word word, uint8_t* out) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 4 * first_), vector(word));
  }
  PAGODA_INLINE void store_halves(Word word, uint8_t* out) const {
    const __m256i halves = vector(word & 0xffff);
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(halves, halves), 0x08);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 2 * first_), _mm256_castsi256_si128(packed));
  }
  PAGODA_INLINE void store_bytes(Word word, uint8_t* out) const {
    const __m256i by_byte = _mm256_shuffle_epi8(vector(word), transposition());
    const __m256i rows = _mm256_permutevar8x32_epi32(by_byte, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    const __m128i low = _mm256_castsi256_si128(rows);
    const __m128i high = _mm256_extracti128_si256(rows, 1);
    store64(low, out);
    store64(_mm_unpackhi_epi64(low, low), out + 16);
    store64(high, out + 32);
    store64(_mm_unpackhi_epi64(high, high), out + 48);
  }
  PAGODA_INLINE static Word look_up(const uint8_t* table, Word indices) {
    const __m128i row = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
    return reinterpret_cast<Word>(_mm256_shuffle_epi8(_mm256_set_m128i(row, row), vector(indices)));
  }
  PAGODA_INLINE static Word select(uint32_t mask, Word a, Word b) { return (a & mask) | (b & ~mask); }

 private:
  PAGODA_INLINE static __m256i vector(Word word) { return reinterpret_cast<__m256i>(word); }
  // 4 x 4 bytes.
  PAGODA_INLINE static __m256i transposition() {
    return _mm256_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15,  //
                            0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  }
  PAGODA_INLINE __m128i at(int row, int offset) const {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows_[row] + offset_ + offset));
  }
  PAGODA_INLINE void store64(__m128i low, uint8_t* out) const {
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out + first_), low);
  }

  const std::byte* const* rows_;
  int first_;
  int64_t offset_;
};

}  // namespace

void pack_blocks(DType dtype, const std::byte* const* rows, int64_t num_blocks, std::byte* out) noexcept {
  pack_blocks_of<Rows8>(dtype, rows, num_blocks, out);
}

void pack_outline(DType dtype, const std::byte* const* rows, int64_t num_blocks, std::byte* outline,
                  std::byte* details) noexcept {
  pack_outline_of<Rows8>(dtype, rows, num_blocks, outline, details);
}

void join_outline(DType dtype, const std::byte* outline, const std::byte* details, int64_t num_blocks,
                  std::byte* out) noexcept {
  join_outline_of<Rows8>(dtype, outline, details, num_blocks, out);
}

}  // namespace pagoda::isa_avx2
