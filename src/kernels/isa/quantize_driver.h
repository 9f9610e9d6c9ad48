// The blocks and rows around the two steps of quantising activations, shared by all ISAs. Internal linkage,
// as in linear_layout.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/isa/linear_layout.h"
#include "kernels/linear.h"

namespace pagoda {
namespace {

// Sums of the first and the last 16 of 32 quants.
struct HalfSums {
  int low;
  int high;
};

// A Body has
//   static float max_magnitude(const float* x, int n)
//       of n = 32 or 256 values; NaN does not count
//   static HalfSums quantise32(const float* x, float factor, int8_t* q)
//       q = x * factor, to nearest even, clamped to +-127; NaN becomes 0
//   static void round_to_bf16(const float* x, int64_t n, uint16_t* out)
//       to nearest even; NaN becomes quiet
// and may have, where vectors are wide,
//   static bool quantise_run(const float* x, Activation32* out)
//       16 blocks at a time
//   static bool quantise_run(const float* x, Activation256* out)
//       one block
// which return false and leave it to the others if a factor is not finite: only then quants need clamping.
template <class Body, class Block>
inline constexpr bool kHasRuns = requires(const float* x, Block* out) { Body::quantise_run(x, out); };

// What a block whose greatest magnitude is `max` is multiplied by; 0 for a block of zeros.
inline float quantising_factor(float max) {
  return 127.0f / (max > 0.0f ? max : __builtin_inff());
}

template <class Body>
void quantise_block(const float* x, float factor, float scale, Activation32& out) {
  const HalfSums sums = Body::quantise32(x, factor, out.q);
  const int sum = sums.low + sums.high;
  out.scale = scale;
  out.scaled_sum = out.scale * static_cast<float>(sum);
  out.minus_8_sum = -8 * sum;
  out.minus_16_sum = -16 * sum;
  out.minus_128_sum = -128 * sum;
}

inline constexpr int64_t kRunBlocks = 16;

// At most 16 blocks: their divisions take one vector.
template <class Body>
void quantise_few_blocks(const float* x, int64_t num_blocks, Activation32* out) {
  float maxima[kRunBlocks] = {};
  float factors[kRunBlocks];
  float scales[kRunBlocks];
  for (int64_t i = 0; i < num_blocks; ++i) maxima[i] = Body::max_magnitude(x + i * 32, 32);
  for (int64_t i = 0; i < kRunBlocks; ++i) {
    factors[i] = quantising_factor(maxima[i]);
    scales[i] = maxima[i] / 127.0f;
  }
  for (int64_t i = 0; i < num_blocks; ++i) quantise_block<Body>(x + i * 32, factors[i], scales[i], out[i]);
}

template <class Body>
size_t quantise_blocks(const float* x, int64_t num_cols, Activation32* out) {
  const int64_t num_blocks = num_cols / 32;
  for (int64_t first = 0; first < num_blocks; first += kRunBlocks) {
    const int64_t left = num_blocks - first;
    if constexpr (kHasRuns<Body, Activation32>) {
      // The last run begins early and gives some blocks once more.
      const int64_t begin = left < kRunBlocks ? num_blocks - kRunBlocks : first;
      if (begin >= 0 && Body::quantise_run(x + begin * 32, out + begin)) continue;
    }
    quantise_few_blocks<Body>(x + first * 32, left < kRunBlocks ? left : kRunBlocks, out + first);
  }
  return static_cast<size_t>(num_blocks) * sizeof(Activation32);
}

template <class Body>
void quantise_block(const float* x, Activation256& out) {
  if constexpr (kHasRuns<Body, Activation256>)
    if (Body::quantise_run(x, &out)) return;
  const float max = Body::max_magnitude(x, 256);
  const float factor = quantising_factor(max);
  out.scale = max / 127.0f;
  for (int i = 0; i < 8; ++i) {
    Activation256::Run& run = out.runs[i];
    const HalfSums sums = Body::quantise32(x + 32 * i, factor, run.q);
    run.minus_32_sums16[0] = -32 * sums.low;
    run.minus_32_sums16[1] = -32 * sums.high;
    out.sums32[i] = static_cast<int16_t>(sums.low + sums.high);
  }
}

template <class Body>
size_t quantise_blocks(const float* x, int64_t num_cols, Activation256* out) {
  const int64_t num_blocks = num_cols / 256;
  for (int64_t b = 0; b < num_blocks; ++b) quantise_block<Body>(x + b * 256, out[b]);
  return static_cast<size_t>(num_blocks) * sizeof(Activation256);
}

template <class Body>
void quantise_row(ActivationFormat format, const float* x, int64_t num_cols, std::byte* out) {
  size_t used = static_cast<size_t>(num_cols) * sizeof(float);
  switch (format) {
    case ActivationFormat::f32:
      __builtin_memcpy(out, x, used);
      break;
    case ActivationFormat::bf16:
      used = static_cast<size_t>(num_cols) * sizeof(uint16_t);
      Body::round_to_bf16(x, num_cols, reinterpret_cast<uint16_t*>(out));
      break;
    case ActivationFormat::q8_32:
      used = quantise_blocks<Body>(x, num_cols, reinterpret_cast<Activation32*>(out));
      break;
    case ActivationFormat::q8_256:
      used = quantise_blocks<Body>(x, num_cols, reinterpret_cast<Activation256*>(out));
      break;
  }
  __builtin_memset(out + used, 0, activation_row_bytes(format, num_cols) - used);
}

}  // namespace
}  // namespace pagoda
