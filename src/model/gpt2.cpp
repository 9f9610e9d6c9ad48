// GPT-2: LayerNorm, learned positions, q, k and v in one tensor, a plain GELU FFN, biases everywhere. Hugging
// Face files store linear weights as [in_features, out_features].
#include <array>

#include "model/architectures.h"
#include "model/read_config.h"

namespace pagoda {

namespace {

constexpr std::array<std::string_view, 2> kPrefixes = {"transformer.", ""};

constexpr DecoderTensorNames kNames = {
    .hf_prefixes = kPrefixes,
    .hf_layers = "h",
    .token_embedding = {"wte", "token_embd"},
    .position_embedding = {"wpe", "position_embd"},
    .final_norm = {"ln_f", "output_norm"},
    .attention_norm = {"ln_1", "attn_norm"},
    .qkv_proj = {"attn.c_attn", "attn_qkv"},
    .o_proj = {"attn.c_proj", "attn_output"},
    .ffn_norm = {"ln_2", "ffn_norm"},
    .up_proj = {"mlp.c_fc", "ffn_up"},
    .down_proj = {"mlp.c_proj", "ffn_down"},
};

constexpr DimensionKeys kKeys = {
    .hidden_size = {"n_embd", "embedding_length"},
    .num_layers = {"n_layer", "block_count"},
    .num_heads = {"n_head", "attention.head_count"},
    .num_kv_heads = {},
    .head_dim = {},
    .max_context = {"n_positions", "context_length"},
};

}  // namespace

void read_gpt2(ConfigReader& config, DecoderSpec& spec, WeightLayout& layout) {
  read_dimensions(config, kKeys, {}, spec);
  read_norm(config, NormKind::layer, {"layer_norm_epsilon", "attention.layer_norm_epsilon"}, spec);
  const ConfigKey inner = {"n_inner", "feed_forward_length"};
  const ConfigKey activation = {"activation_function", ""};
  if (config.has(inner)) {
    read_ffn(config, inner, activation, Activation::Kind::gelu_tanh, spec);
  } else {
    read_ffn(config, kKeys.hidden_size, activation, Activation::Kind::gelu_tanh, spec);
    spec.ffn.intermediate_size = 4 * spec.hidden_size;
  }
  if (!config.flag_or({"scale_attn_weights", ""}, true) ||
      config.flag_or({"scale_attn_by_inverse_layer_idx", ""}, false))
    config.reject(ErrorCode::unsupported,
                  "only attention scaled by the square root of the head size is supported");
  layout.names = &kNames;
  layout.is_tied = config.flag_or({"tie_word_embeddings", ""}, true);
  layout.qkv_bias = Presence::yes;
  layout.o_bias = Presence::yes;
  layout.ffn_bias = Presence::yes;
  layout.storage = config.is_gguf() ? MatrixStorage::rows : MatrixStorage::columns;
}

}  // namespace pagoda
