#include "nn/attention/gqa_attention.h"

#include <array>

#include "nn/block.h"
#include "nn/linear.h"

namespace pagoda {

namespace {

// Rows of Step::wide: queries, keys and values of a token side by side; the attention's output behind all of them.
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

void project_qkv(const Step& step, const AttentionSpec& spec, const AttentionWeights& weights, const Rows& rows) {
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
  run_linears(step.pool, step.kernels, step.activations, step.num_tokens, calls);
}

void normalize_heads(const Step& step, const AttentionSpec& spec, const NormWeight& norm, float* x, int num_heads) {
  if (!norm.exists()) return;
  for (int head = 0; head < num_heads; ++head, x += spec.head_dim)
    normalize(step.kernels, spec.norm, norm, x, spec.head_dim, x);
}

// Norms and rotation of queries and keys; keys and values go to their pages.
void append_tokens(const Step& step, const AttentionSpec& spec, const AttentionWeights& weights,
                   const TokenPlaces& places, const RotaryAngles& angles, const KvLayerView& kv, const Rows& rows) {
  const OpKernels& ops = step.kernels.ops;
  const int64_t half = angles.rotary_dim / 2;
  step.pool.parallel_for(
      static_cast<size_t>(step.num_tokens), ActivationRows::row_grain(rows.qkv_stride),
      [&](size_t begin, size_t end, int) {
        for (auto token = static_cast<int64_t>(begin); token < static_cast<int64_t>(end); ++token) {
          float* q = rows.q(token);
          float* k = q + spec.q_size();
          normalize_heads(step, spec, weights.q_norm, q, spec.num_heads);
          normalize_heads(step, spec, weights.k_norm, k, spec.num_kv_heads);
          if (half != 0) {
            const float* cos = angles.cos + token * half;
            const float* sin = angles.sin + token * half;
            ops.rope(q, spec.num_heads + spec.num_kv_heads, spec.head_dim, angles.rotary_dim, cos, sin);
          }
          ops.append_kv(kv, places.page(token), places.slot(token), k, k + spec.kv_size());
        }
      });
}

void attend(const Step& step, const AttentionSpec& spec, const TokenPlaces& places, const KvLayerView& kv,
            const Rows& rows) {
  const std::span<const AttentionItem> items = places.items();
  step.pool.parallel_for(items.size(), 1, [&](size_t begin, size_t end, int) {
    for (const AttentionItem& item : items.subspan(begin, end - begin)) {
      const AttentionSequence& sequence = places.sequences()[static_cast<size_t>(item.sequence)];
      AttentionArgs args;
      args.kv = kv;
      args.page_table = sequence.page_table;
      args.kv_head = item.kv_head;
      args.num_q_heads = spec.num_heads;
      args.q = rows.q(sequence.token_begin);
      args.q_stride = rows.qkv_stride;
      args.out = rows.out + sequence.token_begin * spec.q_size();
      args.out_stride = spec.q_size();
      args.first_position = sequence.first_position;
      args.num_tokens = sequence.num_tokens;
      args.window = spec.window;
      args.scale = spec.scale;
      args.softcap = spec.softcap;
      step.kernels.ops.attention(args, item.token_begin, item.token_end);
    }
  });
}

}  // namespace

void run_gqa_attention(const Step& step, const AttentionSpec& spec, const AttentionWeights& weights,
                       const TokenPlaces& places, const RotaryAngles& angles, const KvLayerView& kv) noexcept {
  const Rows rows(step, spec);
  project_qkv(step, spec, weights, rows);
  append_tokens(step, spec, weights, places, angles, kv, rows);
  attend(step, spec, places, kv, rows);
  FormatSet formats;
  formats.add(weights.o_proj);
  step.activations.quantize(step.pool, step.kernels, formats, step.num_tokens, spec.q_size(),
                            [&](int64_t token, int) -> const float* { return rows.out + token * spec.q_size(); });
  add_to_residual(step, weights.o_proj, spec.norm, weights.post_norm);
}

}  // namespace pagoda
