#include "model/decoder.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "nn/block.h"
#include "nn/linear.h"

namespace pagoda {

struct Decoder::Sizes {
  int64_t num_tokens;
  int64_t num_sequences;
  int num_threads;
  int64_t max_context;  // positions that the longest sequence reaches
};

// A step's scratch memory. `angles`: [rope][cos, sin][num_tokens][rotary_half].
struct Decoder::Buffers {
  std::span<float> residual;
  std::span<float> block_output;
  std::span<float> wide;
  std::span<float> worker_rows;
  std::span<float> angles;
  ActivationRows activations;
  std::span<AttentionSequence> sequences;
  std::span<AttentionItem> items;
  SegmentSplit split;
  ScreeningScratch screening;
};

Decoder::Decoder(DecoderSpec spec, ModelInfo info, DecoderOuterWeights outer,
                 std::unique_ptr<WeightStore> store, FormatSet activation_formats)
    : spec_(std::move(spec)),
      info_(std::move(info)),
      outer_(outer),
      store_(std::move(store)),
      activation_formats_(activation_formats) {
  for (const RopeSpec& rope : spec_.ropes) {
    std::span<const float> divisors;
    if (outer_.rope_factors != nullptr)
      divisors = {outer_.rope_factors, static_cast<size_t>(rope.rotary_dim / 2)};
    ropes_.emplace_back(rope, divisors);
    rotary_half_ = std::max(rotary_half_, rope.rotary_dim / 2);
  }
}

template <class Source>
Decoder::Buffers Decoder::take_buffers(Source& source, const Sizes& sizes) const {
  const auto tokens = static_cast<size_t>(sizes.num_tokens);
  const auto hidden = static_cast<size_t>(spec_.hidden_size);
  const auto wide =
      static_cast<size_t>(std::max(attention_wide_floats(spec_.attention), ffn_wide_floats(spec_.ffn)));
  const int64_t max_cols =
      std::max({spec_.hidden_size, spec_.attention.q_size(), spec_.ffn.intermediate_size});
  const auto num_items = static_cast<size_t>(
      max_attention_items(sizes.num_tokens, sizes.num_sequences, spec_.attention.num_kv_heads));
  Buffers buffers;
  buffers.residual = source.template take<float>(tokens * hidden);
  buffers.block_output = source.template take<float>(tokens * hidden);
  buffers.wide = source.template take<float>(tokens * wide);
  buffers.worker_rows = source.template take<float>(static_cast<size_t>(sizes.num_threads) * hidden);
  buffers.angles =
      source.template take<float>(2 * ropes_.size() * tokens * static_cast<size_t>(rotary_half_));
  buffers.activations = ActivationRows::take(source, activation_formats_, sizes.num_tokens, max_cols);
  buffers.sequences = source.template take<AttentionSequence>(static_cast<size_t>(sizes.num_sequences));
  buffers.items = source.template take<AttentionItem>(num_items);
  buffers.split =
      SegmentSplit::take(source, sizes.num_threads, sizes.max_context,
                         spec_.attention.num_heads / spec_.attention.num_kv_heads, spec_.attention.head_dim);
  if (can_screen(outer_.head, 1))
    buffers.screening = ScreeningScratch::take(source, outer_.head.matrix.num_groups());
  return buffers;
}

size_t Decoder::workspace_bytes(const BatchLimits& limits) const {
  WorkspaceSizer sizer;
  take_buffers(sizer, {limits.max_tokens, limits.max_sequences, limits.num_threads, limits.max_context});
  return sizer.num_bytes();
}

void Decoder::find_places(const ForwardBatch& batch, TokenPlaces& places) const {
  for (const SequenceSlice& slice : batch.sequences) {
    const int64_t end = slice.first_position + slice.num_tokens;
    PAGODA_CHECK(static_cast<int64_t>(slice.page_table.size()) * kPageTokens >= end,
                 "{} pages for {} positions", slice.page_table.size(), end);
    places.add({slice.token_begin, slice.num_tokens, slice.first_position, slice.page_table.data()},
               spec_.attention.num_kv_heads);
  }
}

void Decoder::compute_angles(const ForwardBatch& batch, ForwardContext& context,
                             const Buffers& buffers) const {
  const size_t num_tokens = batch.token_ids.size();
  for (size_t r = 0; r < ropes_.size(); ++r) {
    const RopeFrequencies& rope = ropes_[r];
    const int64_t half = rope.rotary_dim() / 2;
    float* cos = buffers.angles.data() + 2 * r * num_tokens * static_cast<size_t>(rotary_half_);
    float* sin = cos + num_tokens * static_cast<size_t>(rotary_half_);
    context.pool.parallel_for(num_tokens, 1, [&](size_t begin, size_t end, int) {
      for (size_t t = begin; t < end; ++t) {
        const auto offset = static_cast<int64_t>(t) * half;
        rope.angles(batch.positions[t], cos + offset, sin + offset);
      }
    });
  }
}

namespace {

// Moves the wanted rows to the front, those of logits first: nothing reads the others any more.
void keep_rows(Step& step, const ForwardBatch& batch) {
  const auto bytes = static_cast<size_t>(step.hidden_size) * sizeof(float);
  int64_t num_kept = 0;
  for (const std::span<const int32_t> rows : {batch.logits_rows, batch.hidden_rows}) {
    for (const int32_t row : rows) {
      if (row != num_kept) std::memcpy(residual_row(step, num_kept), residual_row(step, row), bytes);
      ++num_kept;
    }
  }
  step.num_tokens = num_kept;
}

int64_t longest_context(const ForwardBatch& batch) {
  int64_t longest = 0;
  for (const SequenceSlice& slice : batch.sequences)
    longest = std::max(longest, slice.first_position + slice.num_tokens);
  return longest;
}

}  // namespace

LinearGroup Decoder::linears_after(int layer, LinearTriple& storage) const {
  if (layer + 1 == store_->num_layers()) {
    storage = {&outer_.head};
    return std::span(storage).first(1);
  }
  const DecoderLayerWeights* next = store_->peek(layer + 1);
  if (next == nullptr) return {};
  storage = first_linears(next->attention);
  return storage;
}

void Decoder::run_layers(const ForwardBatch& batch, ForwardContext& context, Buffers& buffers, Step& step) {
  TokenPlaces places(buffers.sequences, buffers.items);
  find_places(batch, places);
  compute_angles(batch, context, buffers);
  const auto angles_of = [&](int rope) -> RotaryAngles {
    if (ropes_.empty()) return {};
    const size_t size = batch.token_ids.size() * static_cast<size_t>(rotary_half_);
    const float* cos = buffers.angles.data() + 2 * static_cast<size_t>(rope) * size;
    return {ropes_[static_cast<size_t>(rope)].rotary_dim(), cos, cos + size};
  };
  LinearTriple next;
  AttentionSpec attention = spec_.attention;
  for (int index = 0; index < store_->num_layers(); ++index) {
    const DecoderSpec::Layer& layer = spec_.layers[static_cast<size_t>(index)];
    const WeightStore::Lease weights = store_->acquire(index);
    store_->prefetch(index + 1);
    attention.window = layer.window;
    run_gqa_attention(step, attention, weights->attention, places, angles_of(layer.rope),
                      context.kv.layer(index), buffers.split, first_linears(weights->ffn));
    if (index + 1 == store_->num_layers()) keep_rows(step, batch);
    run_ffn(step, spec_.ffn, weights->ffn, linears_after(index, next));
  }
}

void Decoder::compute_hidden(ForwardContext& context, const Step& step, int64_t first_row) const {
  const auto num_rows = static_cast<size_t>(step.num_tokens - first_row);
  context.pool.parallel_for(num_rows, 1, [&](size_t begin, size_t end, int) {
    for (size_t row = begin; row < end; ++row)
      normalize(context.kernels, spec_.norm, outer_.final_norm,
                residual_row(step, first_row + static_cast<int64_t>(row)), step.hidden_size,
                context.hidden.data() + row * static_cast<size_t>(step.hidden_size));
  });
}

void Decoder::compute_logits(ForwardContext& context, const Step& step, const ScreeningScratch& screening,
                             bool only_greatest, std::span<float> logits) {
  FormatSet formats;
  formats.add(outer_.head);
  read_residual(step, spec_.norm, outer_.final_norm, formats);
  const LinearCall call = {&outer_.head, logits.data(), spec_.vocab_size};
  if (only_greatest && can_screen(outer_.head, step.num_tokens))
    run_screened_linear(context.pool, context.kernels, step.activations, step.num_tokens, call, screening,
                        screening_gate_);
  else
    run_linears(context.pool, context.kernels, step.activations, step.num_tokens, std::span(&call, 1));
  if (spec_.final_softcap == 0.0f) return;
  context.pool.parallel_for(static_cast<size_t>(step.num_tokens), 1, [&](size_t begin, size_t end, int) {
    for (size_t row = begin; row < end; ++row) {
      float* x = logits.data() + row * static_cast<size_t>(spec_.vocab_size);
      context.kernels.ops.softcap(x, spec_.final_softcap, spec_.vocab_size);
    }
  });
}

void Decoder::forward(const ForwardBatch& batch, ForwardContext& context, std::span<float> logits) noexcept {
  const auto num_tokens = static_cast<int64_t>(batch.token_ids.size());
  PAGODA_CHECK(logits.size() >= batch.logits_rows.size() * static_cast<size_t>(spec_.vocab_size),
               "{} logits for {} rows", logits.size(), batch.logits_rows.size());
  PAGODA_CHECK(context.hidden.size() >= batch.hidden_rows.size() * static_cast<size_t>(spec_.hidden_size),
               "{} values for {} hidden states", context.hidden.size(), batch.hidden_rows.size());
  if (num_tokens == 0) return;
  Buffers buffers = take_buffers(context.workspace, {num_tokens, static_cast<int64_t>(batch.sequences.size()),
                                                     context.pool.num_threads(), longest_context(batch)});
  Step step = {context.pool,      context.kernels,     num_tokens,
               spec_.hidden_size, buffers.residual,    buffers.block_output,
               buffers.wide,      buffers.worker_rows, buffers.activations};
  embed(step, spec_.embedding, outer_.token_embedding, outer_.position_embedding, batch.token_ids,
        batch.positions);
  run_layers(batch, context, buffers, step);
  const auto num_logits_rows = static_cast<int64_t>(batch.logits_rows.size());
  if (!batch.hidden_rows.empty()) compute_hidden(context, step, num_logits_rows);
  step.num_tokens = num_logits_rows;
  if (num_logits_rows > 0) compute_logits(context, step, buffers.screening, batch.only_greatest, logits);
}

}  // namespace pagoda
