#include "model/plan_weights.h"

#include <string>

namespace pagoda {

namespace {

constexpr std::string_view kGgufHead = "output.weight";
constexpr std::string_view kHfHead = "lm_head.weight";
constexpr std::string_view kGgufRopeFactors = "rope_freqs.weight";

class Planner {
 public:
  Planner(const ModelFile& file, const DecoderSpec& spec, const WeightLayout& layout, bool outline_head,
          WeightPlan& plan)
      : file_(file),
        spec_(spec),
        layout_(layout),
        names_(*layout.names),
        outline_head_(outline_head),
        plan_(plan) {}

  Status plan_outer(DecoderOuterWeights& outer);
  Status plan_layer(size_t index, DecoderLayerWeights& layer);

 private:
  struct LinearShape {
    int64_t num_rows;
    int64_t num_cols;
    RowSelection rows = {};
  };

  bool is_gguf() const { return file_.format() == ModelFormat::gguf; }
  std::string outer_name(TensorName name) const;
  std::string layer_name(TensorName name) const;
  Status add_linear(TensorName name, const LinearShape& shape, Presence bias, LinearWeight& target);
  Status add_norm(const std::string& name, int64_t size, NormWeight& target);
  // Norms that an architecture may not have.
  Status add_layer_norm(TensorName name, int64_t size, NormWeight& target);
  Status add_head(DecoderOuterWeights& outer);
  Status plan_attention(AttentionWeights& attention);
  Status plan_ffn(FfnWeights& ffn);

  const ModelFile& file_;
  const DecoderSpec& spec_;
  const WeightLayout& layout_;
  const DecoderTensorNames& names_;
  bool outline_head_;
  WeightPlan& plan_;
  std::string hf_prefix_;
  size_t layer_ = 0;
};

std::string Planner::outer_name(TensorName name) const {
  return is_gguf() ? std::string(name.gguf) : fmt::format("{}{}", hf_prefix_, name.hf);
}

std::string Planner::layer_name(TensorName name) const {
  return is_gguf() ? fmt::format("blk.{}.{}", layer_, name.gguf)
                   : fmt::format("{}{}.{}.{}", hf_prefix_, names_.hf_layers, layer_, name.hf);
}

Status Planner::add_linear(TensorName name, const LinearShape& shape, Presence bias, LinearWeight& target) {
  const std::string base = layer_name(name);
  LinearSource source = {.weight = base + ".weight",
                         .bias = base + ".bias",
                         .num_rows = shape.num_rows,
                         .num_cols = shape.num_cols,
                         .rows = shape.rows,
                         .storage = layout_.storage};
  if (bias == Presence::no || (bias == Presence::if_stored && !file_.has(source.bias))) source.bias.clear();
  return plan_.add_linear(source, target);
}

Status Planner::add_norm(const std::string& name, int64_t size, NormWeight& target) {
  PAGODA_TRY_STATUS(plan_.add_vector({name + ".weight", size, {}, layout_.norm_offset}, target.weight));
  if (spec_.norm.kind == NormKind::rms) return {};
  return plan_.add_vector({name + ".bias", size, {}, 0.0f}, target.bias);
}

Status Planner::add_layer_norm(TensorName name, int64_t size, NormWeight& target) {
  if (!name.exists()) return {};
  return add_norm(layer_name(name), size, target);
}

Status Planner::add_head(DecoderOuterWeights& outer) {
  LinearSource source = {
      .num_rows = spec_.vocab_size, .num_cols = spec_.hidden_size, .outline = outline_head_};
  const std::string embedding = outer_name(names_.token_embedding) + ".weight";
  const bool is_tied = is_gguf() ? file_.find(kGgufHead) == nullptr : layout_.is_tied;
  if (is_tied) {
    source.weight = embedding;
    return plan_.add_linear(source, outer.head);
  }
  PAGODA_TRY_STATUS(plan_.add_rows(embedding, spec_.vocab_size, spec_.hidden_size, outer.token_embedding));
  source.weight = is_gguf() ? kGgufHead : kHfHead;
  return plan_.add_linear(source, outer.head);
}

Status Planner::plan_outer(DecoderOuterWeights& outer) {
  for (const std::string_view prefix : names_.hf_prefixes) {
    hf_prefix_ = prefix;
    if (file_.has(outer_name(names_.token_embedding) + ".weight")) break;
  }
  PAGODA_TRY_STATUS(add_head(outer));
  if (names_.position_embedding.exists()) {
    const int64_t num_positions = spec_.max_context + spec_.embedding.position_offset;
    PAGODA_TRY_STATUS(plan_.add_rows(outer_name(names_.position_embedding) + ".weight", num_positions,
                                     spec_.hidden_size, outer.position_embedding));
  }
  if (is_gguf() && !spec_.ropes.empty() && file_.find(kGgufRopeFactors) != nullptr)
    PAGODA_TRY_STATUS(plan_.add_vector(
        {std::string(kGgufRopeFactors), spec_.ropes[0].rotary_dim / 2, {}, 0.0f}, outer.rope_factors));
  return add_norm(outer_name(names_.final_norm), spec_.hidden_size, outer.final_norm);
}

Status Planner::plan_attention(AttentionWeights& attention) {
  const int64_t hidden_size = spec_.hidden_size;
  const int64_t q_size = spec_.attention.q_size();
  const int64_t kv_size = spec_.attention.kv_size();
  const Presence bias = layout_.qkv_bias;
  PAGODA_TRY_STATUS(add_layer_norm(names_.attention_norm, hidden_size, attention.norm));
  if (names_.qkv_proj.exists()) {
    const int64_t all = q_size + 2 * kv_size;
    const auto part = [&](int64_t first, int64_t size) {
      return LinearShape{size, hidden_size, {.first_row = first, .num_stored_rows = all}};
    };
    PAGODA_TRY_STATUS(add_linear(names_.qkv_proj, part(0, q_size), bias, attention.q_proj));
    PAGODA_TRY_STATUS(add_linear(names_.qkv_proj, part(q_size, kv_size), bias, attention.k_proj));
    PAGODA_TRY_STATUS(add_linear(names_.qkv_proj, part(q_size + kv_size, kv_size), bias, attention.v_proj));
  } else {
    RowSelection rotary;
    if (layout_.has_paired_qk)
      rotary = {.head_dim = spec_.attention.head_dim, .rotary_dim = spec_.ropes[0].rotary_dim};
    PAGODA_TRY_STATUS(add_linear(names_.q_proj, {q_size, hidden_size, rotary}, bias, attention.q_proj));
    PAGODA_TRY_STATUS(add_linear(names_.k_proj, {kv_size, hidden_size, rotary}, bias, attention.k_proj));
    PAGODA_TRY_STATUS(add_linear(names_.v_proj, {kv_size, hidden_size}, bias, attention.v_proj));
  }
  PAGODA_TRY_STATUS(add_linear(names_.o_proj, {hidden_size, q_size}, layout_.o_bias, attention.o_proj));
  PAGODA_TRY_STATUS(add_layer_norm(names_.q_norm, spec_.attention.head_dim, attention.q_norm));
  PAGODA_TRY_STATUS(add_layer_norm(names_.k_norm, spec_.attention.head_dim, attention.k_norm));
  return add_layer_norm(names_.attention_post_norm, hidden_size, attention.post_norm);
}

Status Planner::plan_ffn(FfnWeights& ffn) {
  const int64_t hidden_size = spec_.hidden_size;
  const int64_t size = spec_.ffn.intermediate_size;
  PAGODA_TRY_STATUS(add_layer_norm(names_.ffn_norm, hidden_size, ffn.norm));
  if (names_.gate_proj.exists())
    PAGODA_TRY_STATUS(add_linear(names_.gate_proj, {size, hidden_size}, layout_.ffn_bias, ffn.gate_proj));
  PAGODA_TRY_STATUS(add_linear(names_.up_proj, {size, hidden_size}, layout_.ffn_bias, ffn.up_proj));
  PAGODA_TRY_STATUS(add_linear(names_.down_proj, {hidden_size, size}, layout_.ffn_bias, ffn.down_proj));
  return add_layer_norm(names_.ffn_post_norm, hidden_size, ffn.post_norm);
}

Status Planner::plan_layer(size_t index, DecoderLayerWeights& layer) {
  layer_ = index;
  PAGODA_TRY_STATUS(plan_attention(layer.attention));
  return plan_ffn(layer.ffn);
}

}  // namespace

Status plan_weights(const ModelFile& file, const DecoderSpec& spec, const WeightLayout& layout,
                    bool outline_head, WeightPlan& plan, DecoderWeights& weights) {
  Planner planner(file, spec, layout, outline_head, plan);
  PAGODA_TRY_STATUS(planner.plan_outer(weights.outer));
  weights.layers.resize(spec.layers.size());
  for (size_t i = 0; i < weights.layers.size(); ++i)
    PAGODA_TRY_STATUS(planner.plan_layer(i, weights.layers[i]));
  return {};
}

}  // namespace pagoda
