// OPT: LayerNorm before each block, learned positions that begin at row 2, a plain ReLU FFN.
#include <array>

#include "model/architectures.h"
#include "model/read_config.h"

namespace pagoda {

namespace {

constexpr std::array<std::string_view, 2> kPrefixes = {"model.decoder.", "decoder."};

constexpr DecoderTensorNames kNames = {
    .hf_prefixes = kPrefixes,
    .token_embedding = {"embed_tokens", ""},
    .position_embedding = {"embed_positions", ""},
    .final_norm = {"final_layer_norm", ""},
    .attention_norm = {"self_attn_layer_norm", ""},
    .q_proj = {"self_attn.q_proj", ""},
    .k_proj = {"self_attn.k_proj", ""},
    .v_proj = {"self_attn.v_proj", ""},
    .o_proj = {"self_attn.out_proj", ""},
    .ffn_norm = {"final_layer_norm", ""},
    .up_proj = {"fc1", ""},
    .down_proj = {"fc2", ""},
};

constexpr int64_t kPositionOffset = 2;

}  // namespace

void read_opt(ConfigReader& config, DecoderSpec& spec, WeightLayout& layout) {
  DimensionKeys keys;
  keys.num_kv_heads = {};
  keys.head_dim = {};
  read_dimensions(config, keys, {}, spec);
  read_norm(config, NormKind::layer, {}, spec);
  read_ffn(config, {"ffn_dim", ""}, {"activation_function", ""}, Activation::Kind::relu, spec);
  if (!config.flag_or({"do_layer_norm_before", ""}, true) ||
      config.flag_or({"_remove_final_layer_norm", ""}, false) ||
      !config.flag_or({"layer_norm_elementwise_affine", ""}, true))
    config.reject(ErrorCode::unsupported,
                  "only norms with weights before each block and at the end are supported");
  if (config.count_or({"word_embed_proj_dim", ""}, kMaxHiddenSize, spec.hidden_size) != spec.hidden_size)
    config.reject(ErrorCode::unsupported,
                  "embeddings of another size than the hidden state are not supported");
  spec.embedding.position_offset = kPositionOffset;
  const Presence bias = config.flag_or({"enable_bias", ""}, true) ? Presence::yes : Presence::no;
  layout.names = &kNames;
  layout.is_tied = config.flag_or({"tie_word_embeddings", ""}, true);
  layout.qkv_bias = bias;
  layout.o_bias = bias;
  layout.ffn_bias = bias;
}

}  // namespace pagoda
