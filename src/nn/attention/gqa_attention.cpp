#include "nn/attention/gqa_attention.h"

#include <algorithm>
#include <array>

#include "nn/block.h"
#include "nn/linear.h"

namespace pagoda {

namespace {

// A thread is not woken for fewer tokens' parts than this.
constexpr size_t kLeastAppendTokens = 32;

// Rows of Step::wide: queries, keys and values of a token side by side; the attention's output behind all of
// them.
struct Rows {
  float* qkv;
  int64_t qkv_stride;
  float* out;

  Rows(const Step& step, const AttentionSpec& spec)
      : qkv(step.wide.data()),
        qkv_stride(spec.q_size() + 2 * spec.kv_size()),
        out(step.wide.data() + step.num_tokens * qkv_stride) {}
  float* q(int64_t token) const { return qkv + token * qkv_stride; }
};

void project_qkv(const Step& step, const AttentionSpec& spec, const AttentionWeights& weights,
                 const Rows& rows) {
  FormatSet formats;
  formats.add(weights.q_proj);
  formats.add(weights.k_proj);
  formats.add(weights.v_proj);
  read_residual(step, spec.norm, weights.norm, formats);
  const std::array calls = {
      LinearCall{&weights.q_proj, rows.qkv, rows.qkv_stride},
      LinearCall{&weights.k_proj, rows.qkv + spec.q_size(), rows.qkv_stride},
      LinearCall{&weights.v_proj, rows.qkv + spec.q_size() + spec.kv_size(), rows.qkv_stride},
  };
  const std::array output = {&weights.o_proj};
  announce_linears(step.pool, step.kernels, step.num_tokens, output);
  run_linears(step.pool, step.kernels, step.activations, step.num_tokens, calls);
}

void normalize_heads(const Step& step, const AttentionSpec& spec, const NormWeight& norm, float* x,
                     int num_heads) {
  if (!norm.exists()) return;
  for (int head = 0; head < num_heads; ++head, x += spec.head_dim)
    normalize(step.kernels, spec.norm, norm, x, spec.head_dim, x);
}

void normalize_and_rotate(const Step& step, const AttentionSpec& spec, const AttentionWeights& weights,
                          const RotaryAngles& angles, const Rows& rows) {
  const int64_t half = angles.rotary_dim / 2;
  step.pool.parallel_for(static_cast<size_t>(step.num_tokens), ActivationRows::row_grain(rows.qkv_stride),
                         [&](size_t begin, size_t end, int) {
                           for (auto token = static_cast<int64_t>(begin); token < static_cast<int64_t>(end);
                                ++token) {
                             float* q = rows.q(token);
                             float* k = q + spec.q_size();
                             normalize_heads(step, spec, weights.q_norm, q, spec.num_heads);
                             normalize_heads(step, spec, weights.k_norm, k, spec.num_kv_heads);
                             if (half != 0) {
                               const float* cos = angles.cos + token * half;
                               const float* sin = angles.sin + token * half;
                               step.kernels.ops.rope(q, spec.num_heads + spec.num_kv_heads, spec.head_dim,
                                                     angles.rotary_dim, cos, sin);
                             }
                           }
                         });
}

// Keys and values go to their pages. Threads share the dims, since a page may need what the one before it
// has.
void append_tokens(const Step& step, const AttentionSpec& spec, const TokenPlaces& places,
                   const KvLayerView& kv, const Rows& rows) {
  const auto num_parts = static_cast<size_t>(num_append_parts(*kv.shape));
  const std::span<const AttentionSequence> sequences = places.sequences();
  const auto tokens_per_sequence =
      static_cast<size_t>(step.num_tokens) / std::max<size_t>(1, sequences.size());
  const size_t grain = 1 + kLeastAppendTokens / (tokens_per_sequence + 1);
  step.pool.parallel_for(sequences.size() * num_parts, grain, [&](size_t begin, size_t end, int) {
    for (size_t item = begin; item < end; ++item) {
      const AttentionSequence& sequence = sequences[item / num_parts];
      KvAppendArgs args;
      args.kv = kv;
      args.page_table = sequence.page_table;
      args.first_position = sequence.first_position;
      args.num_tokens = sequence.num_tokens;
      args.k = rows.q(sequence.token_begin) + spec.q_size();
      args.v = args.k + spec.kv_size();
      args.stride = rows.qkv_stride;
      step.kernels.ops.append_kv(args, static_cast<int64_t>(item % num_parts));
    }
  });
}

class Attention {
 public:
  Attention(const Step& step, const AttentionSpec& spec, const TokenPlaces& places, const KvLayerView& kv,
            const Rows& rows)
      : step_(step), spec_(spec), places_(places), kv_(kv), rows_(rows) {}

  void run(SegmentSplit& split) const {
    if (fill(split) && split.is_worthwhile())
      split.run(step_.pool, step_.kernels,
                [this](int32_t sequence, int kv_head) { return args_of(sequence, kv_head); });
    else
      run_items();
  }

 private:
  AttentionArgs args_of(int32_t index, int kv_head) const {
    const AttentionSequence& sequence = places_.sequences()[static_cast<size_t>(index)];
    AttentionArgs args;
    args.kv = kv_;
    args.page_table = sequence.page_table;
    args.kv_head = kv_head;
    args.num_q_heads = spec_.num_heads;
    args.q = rows_.q(sequence.token_begin);
    args.q_stride = rows_.qkv_stride;
    args.out = rows_.out + sequence.token_begin * spec_.q_size();
    args.out_stride = spec_.q_size();
    args.first_position = sequence.first_position;
    args.num_tokens = sequence.num_tokens;
    args.window = spec_.window;
    args.scale = spec_.scale;
    args.softcap = spec_.softcap;
    if (sequence.num_tokens <= kFewQueryTokens) args.prefetch = step_.kernels.prefetch;
    return args;
  }

  bool fill(SegmentSplit& split) const {
    split.clear(spec_.num_kv_heads);
    if (step_.num_tokens * spec_.num_kv_heads > SegmentSplit::max_pieces(step_.pool.num_threads()))
      return false;
    for (size_t index = 0; index < places_.sequences().size(); ++index) {
      const AttentionArgs args = args_of(static_cast<int32_t>(index), 0);
      for (int32_t token = 0; token < args.num_tokens; ++token)
        if (!split.add({static_cast<int32_t>(index), token}, segments_of(args, token).count)) return false;
    }
    return true;
  }

  void run_items() const {
    const std::span<const AttentionItem> items = places_.items();
    step_.pool.parallel_for(items.size(), 1, [&](size_t begin, size_t end, int) {
      for (const AttentionItem& item : items.subspan(begin, end - begin))
        step_.kernels.ops.attention(args_of(item.sequence, item.kv_head), item.token_begin, item.token_end);
    });
  }

  const Step& step_;
  const AttentionSpec& spec_;
  const TokenPlaces& places_;
  const KvLayerView& kv_;
  const Rows& rows_;
};

}  // namespace

void run_gqa_attention(const Step& step, const AttentionSpec& spec, const AttentionWeights& weights,
                       const TokenPlaces& places, const RotaryAngles& angles, const KvLayerView& kv,
                       SegmentSplit& split, LinearGroup next) noexcept {
  const Rows rows(step, spec);
  project_qkv(step, spec, weights, rows);
  normalize_and_rotate(step, spec, weights, angles, rows);
  append_tokens(step, spec, places, kv, rows);
  Attention(step, spec, places, kv, rows).run(split);
  FormatSet formats;
  formats.add(weights.o_proj);
  step.activations.quantize(
      step.pool, step.kernels, formats, step.num_tokens, spec.q_size(),
      [&](int64_t token, int) -> const float* { return rows.out + token * spec.q_size(); });
  add_to_residual(step, weights.o_proj, spec.norm, weights.post_norm, next);
}

}  // namespace pagoda
