// Linear layers with AVX-512 VNNI: vpdpbusd multiplies unsigned weights by signed activations, which come as
// 4-byte broadcasts from the L1 cache. Unpacked weights of 32 k stay in 8 registers while up to 8 tokens
// pass.
#include <immintrin.h>

#include "kernels/isa/linear_driver.h"
#include "kernels/isa/linear_unpack_avx512.h"
#include "kernels/isa/tables.h"

namespace pagoda::isa_avx512 {

namespace {

// t[i] += dot products of operands [kFirst, kFirst + kCount) with token (first_token + i); `rows` is at the
// 32 k. A single token gets two chains, so that the latency of vpdpbusd does not bind.
template <int kFirst, int kCount, int kTile, int kTokens>
PAGODA_INLINE void dot(const __m512i (&w)[8], const TokenRows<kTile>& rows, int first_token,
                       __m512i (&t)[kTokens]) {
  if constexpr (kTokens == 1) {
    __m512i odd = _mm512_setzero_si512();
    PAGODA_UNROLL for (int o = kFirst; o < kFirst + kCount; o += 2) {
      t[0] = _mm512_dpbusd_epi32(t[0], w[o], broadcast(rows[first_token] + 4 * o));
      odd = _mm512_dpbusd_epi32(odd, w[o + 1], broadcast(rows[first_token] + 4 * (o + 1)));
    }
    t[0] = _mm512_add_epi32(t[0], odd);
  } else {
    PAGODA_UNROLL for (int o = kFirst; o < kFirst + kCount; ++o) {
      PAGODA_UNROLL for (int i = 0; i < kTokens; ++i) t[i] =
          _mm512_dpbusd_epi32(t[i], w[o], broadcast(rows[first_token + i] + 4 * o));
    }
  }
}

// Tokens whose integer sums are live at the same time.
template <int kTokens>
inline constexpr int kLive = kTokens <= 4   ? kTokens
                             : kTokens == 6 ? 3
                                            : 4;

template <PackedFormat kFormat, int kTokens>
PAGODA_INLINE void add_block32(const uint8_t* block, int64_t ahead, const TokenRows<kTokens>& rows,
                               __m512 (&acc)[kTokens]) {
  constexpr BlockLayout kAt = block_layout(kFormat);
  constexpr int kStep = kLive<kTokens>;
  const __m512 d = load_f16(block);
  __m512i w[8];
  unpack<kFormat.bits>(block + kAt.quants, w);
  prefetch<kAt.bytes, kTokens>(block, ahead);
  PAGODA_UNROLL for (int first = 0; first < kTokens; first += kStep) {
    __m512i t[kStep];
    PAGODA_UNROLL for (int i = 0; i < kStep; ++i) t[i] =
        kFormat.zero_point == 0 ? _mm512_setzero_si512()
                                : broadcast(rows[first + i] + zero_point_offset<kFormat>());
    dot<0, 8>(w, rows, first, t);
    PAGODA_UNROLL for (int i = 0; i < kStep; ++i) {
      const __m512 s = broadcast_float(rows[first + i] + offsetof(Activation32, scale));
      __m512& a = acc[first + i];
      a = _mm512_fmadd_ps(_mm512_cvtepi32_ps(t[i]), _mm512_mul_ps(d, s), a);
      if constexpr (kFormat.has_min != 0) {
        const __m512 m = load_f16(block + kAt.dmin);
        a = _mm512_fmadd_ps(broadcast_float(rows[first + i] + offsetof(Activation32, scaled_sum)), m, a);
      }
    }
  }
}

// sums[t] += scale * dot product, for 32 k (an Activation256::Run) that have one scale or two.
template <PackedFormat kFormat, int kTokens>
PAGODA_INLINE void add_run(const uint8_t* quants, const uint8_t* scales, int64_t ahead,
                           const TokenRows<kTokens>& rows, __m512i (&sums)[kTokens]) {
  constexpr int kStep = kLive<kTokens>;
  __m512i w[8];
  unpack<kFormat.bits>(quants, w);
  prefetch<64 * kFormat.bits + 40, kTokens>(quants, ahead);
  if constexpr (kFormat.sub_length == 32) {
    const __m512i scale = _mm512_cvtepi8_epi32(load128(scales));
    PAGODA_UNROLL for (int first = 0; first < kTokens; first += kStep) {
      __m512i t[kStep];
      PAGODA_UNROLL for (int i = 0; i < kStep; ++i) t[i] = _mm512_setzero_si512();
      dot<0, 8>(w, rows, first, t);
      PAGODA_UNROLL for (int i = 0; i < kStep; ++i) sums[first + i] =
          _mm512_add_epi32(sums[first + i], _mm512_mullo_epi32(t[i], scale));
    }
  } else {
    const __m512i scale0 = _mm512_cvtepi8_epi32(load128(scales));
    const __m512i scale1 = _mm512_cvtepi8_epi32(load128(scales + 16));
    PAGODA_UNROLL for (int first = 0; first < kTokens; first += kStep) {
      __m512i t[kStep];
      __m512i u[kStep];
      PAGODA_UNROLL for (int i = 0; i < kStep; ++i) {
        const std::byte* start = rows[first + i] + offsetof(Activation256::Run, minus_32_sums16);
        t[i] = kFormat.zero_point == 0 ? _mm512_setzero_si512() : broadcast(start);
        u[i] = kFormat.zero_point == 0 ? _mm512_setzero_si512() : broadcast(start + 4);
      }
      dot<0, 4>(w, rows, first, t);
      dot<4, 4>(w, rows, first, u);
      PAGODA_UNROLL for (int i = 0; i < kStep; ++i) {
        const __m512i scaled =
            _mm512_add_epi32(_mm512_mullo_epi32(t[i], scale0), _mm512_mullo_epi32(u[i], scale1));
        sums[first + i] = _mm512_add_epi32(sums[first + i], scaled);
      }
    }
  }
}

// Sum over the sub-blocks of min * (sum of activations), for each token.
template <PackedFormat kFormat, int kTokens>
PAGODA_INLINE void sum_mins(const uint8_t* mins, const TokenRows<kTokens>& rows, __m512i (&sums)[kTokens]) {
  PAGODA_UNROLL for (int t = 0; t < kTokens; ++t) sums[t] = _mm512_setzero_si512();
  if constexpr (kFormat.sub_length == 32) {
    PAGODA_UNROLL for (int pair = 0; pair < 4; ++pair) {
      const __m512i min =
          _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(mins + 32 * pair)));
      PAGODA_UNROLL for (int t = 0; t < kTokens; ++t) sums[t] =
          _mm512_dpwssd_epi32(sums[t], min, broadcast(rows[t] + offsetof(Activation256, sums32) + 4 * pair));
    }
  } else {
    for (int j = 0; j < 16; ++j) {
      const __m512i min = _mm512_cvtepu8_epi32(load128(mins + 16 * j));
      PAGODA_UNROLL for (int t = 0; t < kTokens; ++t) {
        const __m512i sum = broadcast(rows[t] + j / 2 * sizeof(Activation256::Run) +
                                      offsetof(Activation256::Run, minus_32_sums16) + j % 2 * 4);
        sums[t] = _mm512_sub_epi32(sums[t], _mm512_mullo_epi32(min, sum));
      }
    }
    PAGODA_UNROLL for (int t = 0; t < kTokens; ++t) sums[t] = _mm512_srai_epi32(sums[t], 5);
  }
}

template <PackedFormat kFormat, int kTokens>
PAGODA_INLINE void add_block256(const uint8_t* block, int64_t ahead, const TokenRows<kTokens>& rows,
                                __m512 (&acc)[kTokens]) {
  constexpr BlockLayout kAt = block_layout(kFormat);
  __m512i sums[kTokens];
  PAGODA_UNROLL for (int t = 0; t < kTokens; ++t) sums[t] = _mm512_setzero_si512();
  const uint8_t* quants = block + kAt.quants;
  const uint8_t* scales = block + kAt.scales;
  TokenRows<kTokens> run_rows = rows;
  for (int run = 0; run < 8; ++run) {
    add_run<kFormat>(quants, scales, ahead, run_rows, sums);
    run_rows.advance(sizeof(Activation256::Run));
    quants += 64 * kFormat.bits;
    scales += 32 / kFormat.sub_length * 16;
  }
  const __m512 d = load_f16(block + kAt.d);
  PAGODA_UNROLL for (int t = 0; t < kTokens; ++t) {
    const __m512 s = broadcast_float(rows[t] + offsetof(Activation256, scale));
    acc[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[t]), _mm512_mul_ps(d, s), acc[t]);
  }
  if constexpr (kFormat.has_min != 0) {
    const __m512 dmin = load_f16(block + kAt.dmin);
    sum_mins<kFormat>(block + kAt.mins, rows, sums);
    PAGODA_UNROLL for (int t = 0; t < kTokens; ++t) {
      const __m512 s = broadcast_float(rows[t] + offsetof(Activation256, scale));
      acc[t] = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(sums[t]), _mm512_mul_ps(dmin, s), acc[t]);
    }
  }
}

template <PackedFormat kFormat>
struct Quantised {
  // Blocks of 256 keep integer sums beside the accumulators; unpacking 5 bits with a min needs one register
  // more.
  static constexpr int kMaxTileTokens =
      kFormat.block_length == 256 || (kFormat.bits == 5 && kFormat.has_min != 0) ? 8 : 12;

  template <int kTokens>
  [[gnu::noinline]] static void tile(const Tile& tile) noexcept {
    constexpr bool kLong = kFormat.block_length == 256;
    constexpr int kBlockBytes = block_layout(kFormat).bytes;
    TokenRows<kTokens> rows(tile.activations, tile.activation_stride);
    __m512 acc[kTokens];
    PAGODA_UNROLL for (int t = 0; t < kTokens; ++t) acc[t] = _mm512_setzero_ps();
    const uint8_t* block = tile.group;
    for (int64_t k = 0; k < tile.num_cols; k += kFormat.block_length, block += kBlockBytes) {
      if constexpr (kLong)
        add_block256<kFormat>(block, tile.prefetch_bytes, rows, acc);
      else
        add_block32<kFormat>(block, tile.prefetch_bytes, rows, acc);
      rows.advance(kLong ? sizeof(Activation256) : sizeof(Activation32));
    }
    store(tile, acc);
  }
};

// acc += w * x for one k and all tokens; x is `offset` bytes from where the rows are.
template <int kTokens>
PAGODA_INLINE void multiply_add(__m512 w, const TokenRows<kTokens>& rows, int offset,
                                __m512 (&acc)[kTokens]) {
  PAGODA_UNROLL for (int t = 0; t < kTokens; ++t) acc[t] =
      _mm512_fmadd_ps(w, broadcast_float(rows[t] + offset), acc[t]);
}

template <int kTokens>
PAGODA_INLINE void add_bf16(const Tile& tile, TokenRows<kTokens>& rows, __m512 (&acc)[kTokens]) {
  constexpr int kNext = sizeof(float);
  const uint8_t* pairs = tile.group;
  for (int64_t k = 0; k < tile.num_cols; k += 2, pairs += 64) {
    prefetch<1, kTokens>(pairs, tile.prefetch_bytes);
    const __m512i w = load(pairs);
    multiply_add(even_bf16(w), rows, 0, acc);
    multiply_add(odd_bf16(w), rows, kNext, acc);
    rows.advance(2 * kNext);
  }
}

template <DType kType, int kTokens>
PAGODA_INLINE void add_plain(const Tile& tile, TokenRows<kTokens>& rows, __m512 (&acc)[kTokens]) {
  constexpr int kBytesPerColumn = kType == DType::f32 ? 64 : 32;
  const uint8_t* column = tile.group;
  for (int64_t k = 0; k < tile.num_cols; ++k, column += kBytesPerColumn) {
    prefetch<1, kTokens>(column, tile.prefetch_bytes);
    multiply_add(kType == DType::f32 ? _mm512_loadu_ps(column) : load_f16(column), rows, 0, acc);
    rows.advance(sizeof(float));
  }
}

template <DType kType>
struct Plain {
  static constexpr int kMaxTileTokens = 12;

  template <int kTokens>
  [[gnu::noinline]] static void tile(const Tile& tile) noexcept {
    TokenRows<kTokens> rows(tile.activations, tile.activation_stride);
    __m512 acc[kTokens];
    PAGODA_UNROLL for (int t = 0; t < kTokens; ++t) acc[t] = _mm512_setzero_ps();
    if constexpr (kType == DType::bf16)
      add_bf16(tile, rows, acc);
    else
      add_plain<kType>(tile, rows, acc);
    store(tile, acc);
  }
};

// bf16 weights times bf16 activations where there is no instruction for it.
struct Bf16Products {
  static constexpr int kMaxTileTokens = 8;

  template <int kTokens>
  [[gnu::noinline]] static void tile(const Tile& tile) noexcept {
    TokenRows<kTokens> rows(tile.activations, tile.activation_stride);
    __m512 acc[kTokens];
    PAGODA_UNROLL for (int t = 0; t < kTokens; ++t) acc[t] = _mm512_setzero_ps();
    const uint8_t* pairs = tile.group;
    for (int64_t k = 0; k < tile.num_cols; k += 2, pairs += 64) {
      prefetch<1, kTokens>(pairs, tile.prefetch_bytes);
      const __m512i w = load(pairs);
      PAGODA_UNROLL for (int t = 0; t < kTokens; ++t) {
        const __m512i x = broadcast(rows[t]);
        acc[t] = _mm512_fmadd_ps(odd_bf16(w), odd_bf16(x), acc[t]);
        acc[t] = _mm512_fmadd_ps(even_bf16(w), even_bf16(x), acc[t]);
      }
      rows.advance(2 * sizeof(uint16_t));
    }
    store(tile, acc);
  }
};

}  // namespace

LinearKernels linear_kernels() {
  return {quantize, run_linear_of<Quantised, Plain, Bf16Products>};
}

}  // namespace pagoda::isa_avx512
