// Everything but linear layers: norms, rotary embedding, activations, attention over pages, reductions for
// sampling. All arithmetic is f32. Each body is written once over a 16-lane vector type and compiled per ISA;
// the scalar vector type is the definition. Reductions run in 16 lanes (element i in lane i % 16, ascending),
// then a fixed tree: the bits do not depend on the ISA, on batch mates or on threads (but which NaN comes out
// is open). exp, log, tanh and the like are our own polynomials. All functions are noexcept and allocate
// nothing. Pointers need only the alignment of their element type.
#pragma once

#include <cstdint>

#include "kernels/kv_page.h"
#include "kernels/prefetch.h"

namespace pagoda {

// New tokens of one sequence, whose pages the table already has.
struct KvAppendArgs {
  KvLayerView kv;
  const PageId* page_table = nullptr;  // pages of positions 0..15, 16..31, …
  int64_t first_position = 0;
  int64_t num_tokens = 0;
  const float* k = nullptr;  // [num_tokens][stride], a token's [num_kv_heads][head_dim]
  const float* v = nullptr;  // likewise
  int64_t stride = 0;
};
// Parts of the work that threads can share: groups of a KV head's dims.
[[gnu::always_inline]] inline int64_t num_append_parts(const KvShape& shape) {
  return int64_t{shape.num_kv_heads} * shape.num_groups();
}

// Attention of some query tokens of one sequence, for one KV head (all its query heads together: each KV byte
// is read once). For query token t at position p = first_position + t and query head h:
//   score[j] = scale * sum over d of q[d] * k[j][d],   j in [max(0, p - window + 1), p]
//   softcap > 0: score = softcap * tanh(score / softcap)
// CANONICAL ARITHMETIC. Sums of products run as one fma chain over pairs of dims (2i, 2i + 1), or of
// positions, ascending; in a pair the second comes first (as vdpbf16ps has it). Where K and V are bf16, q and
// w are rounded to bf16 too. Subnormal numbers count as zero. Positions are cut on the fixed grid of
// kSegmentTokens. In a segment: m = max score, then w[j] = exp(score[j] - m), l = sum of w (16 lanes, tree),
// o[d] = sum of w[j] v[j][d]. Segments are merged in ascending order: m' = max(m, m2); o = o * exp(m - m') +
// o2 * exp(m2 - m'), l likewise; at the end o / l. Hence the bits of a token's output depend only on its
// query and the cached K and V, never on chunking, batching or pages.
// Where K and V are int8 (kv_page.h), sums of products are exact integers instead. q is transformed as K is,
// each group divided by its number of dims, so that q k stays what it was. It has 32767 steps up to
// its greatest magnitude. score = step * (sum over groups of dims, one fma chain, of the integer sum of q k *
// the token's scale) + the sum of q * offset (16 lanes, tree; exact q). For each group of dims of V the
// weights times V's scales have 32767 steps up to their greatest in the segment, and o[d] is the integer sum
// times the step. l is that of the exact weights.
struct AttentionArgs {
  KvLayerView kv;
  const PageId* page_table = nullptr;  // pages of positions 0..15, 16..31, …
  int kv_head = 0;
  // Of the whole layer; those of this KV head are [kv_head * G, (kv_head + 1) * G), G = num_q_heads /
  // num_kv_heads.
  int num_q_heads = 0;
  const float* q = nullptr;  // [num_tokens][q_stride], head h at q + h * head_dim
  int64_t q_stride = 0;
  float* out = nullptr;  // [num_tokens][out_stride], same order of heads
  int64_t out_stride = 0;
  int64_t first_position = 0;
  int64_t num_tokens = 0;
  int64_t window = 0;  // 0: unlimited
  float scale = 1.0f;
  float softcap = 0.0f;  // 0: none
  Prefetch prefetch;
};
inline constexpr int64_t kSegmentTokens = 512;
// So few query tokens that K and V are read from memory about as often as from a cache.
inline constexpr int64_t kFewQueryTokens = 4;
inline constexpr int kMaxHeadDim = 512;

// Segments that a query token attends to: [first, first + count).
struct SegmentRange {
  int64_t first = 0;
  int64_t count = 0;
};
[[gnu::always_inline]] inline SegmentRange segments_of(const AttentionArgs& args, int64_t token) {
  const int64_t position = args.first_position + token;
  const int64_t begin = args.window > 0 && position + 1 > args.window ? position + 1 - args.window : 0;
  const int64_t first = begin / kSegmentTokens;
  return {first, position / kSegmentTokens - first + 1};
}
// Floats that one segment's partial result of one token and KV head takes: per query head max, sum, outputs.
[[gnu::always_inline]] inline int64_t partial_floats(const AttentionArgs& args) {
  return int64_t{args.num_q_heads / args.kv.shape->num_kv_heads} * (args.kv.shape->head_dim + 2);
}

struct Activation {
  enum class Kind { silu, gelu_tanh, gelu_erf, relu };
};

struct OpKernels {
  // out[i] = x[i] * (1 / sqrt(mean(x^2) + eps)) * (weight[i] + weight_offset). out may be x.
  void (*rms_norm)(const float* x, const float* weight, int64_t n, float eps, float weight_offset,
                   float* out) noexcept;
  // out = (x - mean) / sqrt(variance + eps) * weight + bias. out may be x; bias may be null.
  void (*layer_norm)(const float* x, const float* weight, const float* bias, int64_t n, float eps,
                     float* out) noexcept;
  // Rotates pairs (i, i + rotary_dim / 2) of each head by the angles whose cosines and sines are given; dims
  // beyond rotary_dim stay. x: [num_heads][head_dim], cos and sin: [rotary_dim / 2].
  void (*rope)(float* x, int64_t num_heads, int64_t head_dim, int64_t rotary_dim, const float* cos,
               const float* sin) noexcept;
  // x[i] = act(x[i])
  void (*activate)(Activation::Kind kind, float* x, int64_t n) noexcept;
  // out[i] = act(gate[i]) * up[i]. out may be gate or up.
  void (*activate_and_multiply)(Activation::Kind kind, const float* gate, const float* up, int64_t n,
                                float* out) noexcept;
  void (*add)(float* x, const float* y, int64_t n) noexcept;  // x += y
  void (*scale)(float* x, float factor, int64_t n) noexcept;  // x *= factor
  void (*softcap)(float* x, float cap, int64_t n) noexcept;   // x = cap * tanh(x / cap)

  // Writes one part, below num_append_parts(), of the tokens' K and V of one layer. What stands in a page
  // afterwards depends on the sequence's tokens alone, not on how they were cut into calls. An int8 token
  // that is not finite makes all its scores NaN.
  void (*append_kv)(const KvAppendArgs& args, int64_t part) noexcept;
  // Query tokens [token_begin, token_end) of args. Scratch comes from the stack.
  void (*attention)(const AttentionArgs& args, int64_t token_begin, int64_t token_end) noexcept;

  // The same in two halves, so that threads can share the segments of a long context; the bits are those of
  // `attention`. First one segment of segments_of(args, token) into partial_floats(args) floats; best all KV
  // heads of a segment in turn, as they lie in memory, then the next segment …
  void (*attention_segment)(const AttentionArgs& args, int64_t token, int64_t segment,
                            float* partials) noexcept;
  // … then all of them, in ascending order one behind the other.
  void (*attention_merge)(const AttentionArgs& args, int64_t token, int64_t num_segments,
                          const float* partials) noexcept;

  // Index of the greatest value, the smallest index among equals; NaN never wins (0 if all are NaN).
  int64_t (*argmax)(const float* x, int64_t n) noexcept;
  float (*max)(const float* x, int64_t n) noexcept;
  // Of n outputs from outlines, for each group g of up to 16: the greatest, and what the exact ones are at
  // most, the greatest x + error * length. Errors of group g begin g * stride bytes behind `errors`; length:
  // activation_length() of the token. NaN never wins.
  void (*bound_groups)(const float* x, int64_t n, const std::byte* errors, size_t stride, float length,
                       float* greatest, float* bounds) noexcept;
  // log(sum exp(x[i])); needs no maximum from the caller. -infinity counts as nothing (-infinity if there is
  // nothing else, at once); NaN gives NaN.
  float (*log_sum_exp)(const float* x, int64_t n) noexcept;
  // Whether no value is NaN or +infinity; -infinity is fine (a masked token).
  bool (*all_valid)(const float* x, int64_t n) noexcept;
  // out[i] = x[i] where bit i % 32 of mask[i / 32] is set, -infinity elsewhere.
  void (*apply_mask)(const float* x, const uint32_t* mask, int64_t n, float* out) noexcept;
  void (*divide)(const float* x, float divisor, int64_t n, float* out) noexcept;  // out = x / divisor
  // out[i] = exp(x[i] - shift), for shift >= x[i].
  void (*exponentiate)(const float* x, float shift, int64_t n, float* out) noexcept;
};

}  // namespace pagoda
