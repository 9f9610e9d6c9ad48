// Gemma 3, its text part: norms before and after each block, norms of queries and keys, most layers with a
// sliding window and a rope base of their own, scaled embeddings. Hugging Face files store norm weights
// minus 1.
#include <array>
#include <cmath>

#include "model/architectures.h"
#include "model/llama_names.h"
#include "model/read_config.h"

namespace pagoda {

namespace {

constexpr std::array<std::string_view, 3> kPrefixes = {"model.", "language_model.model.",
                                                       "model.language_model."};

constexpr DecoderTensorNames make_names() {
  DecoderTensorNames names = kLlamaNames;
  names.hf_prefixes = kPrefixes;
  names.q_norm = {"self_attn.q_norm", "attn_q_norm"};
  names.k_norm = {"self_attn.k_norm", "attn_k_norm"};
  names.attention_post_norm = {"post_attention_layernorm", "post_attention_norm"};
  names.ffn_norm = {"pre_feedforward_layernorm", "ffn_norm"};
  names.ffn_post_norm = {"post_feedforward_layernorm", "post_ffw_norm"};
  return names;
}

constexpr DecoderTensorNames kNames = make_names();

// What Hugging Face assumes where a file leaves values out.
constexpr DimensionDefaults kDefaults = {
    .vocab_size = 262208, .num_heads = 8, .num_kv_heads = 4, .head_dim = 256, .max_context = 131072};
constexpr double kGlobalBase = 1e6;
constexpr double kLocalBase = 1e4;
constexpr int64_t kPattern = 6;  // every sixth layer sees everything
constexpr int64_t kWindow = 4096;

enum Rope { kGlobal, kLocal };

void read_ropes(ConfigReader& config, DecoderSpec& spec) {
  RopeSpec global = read_rope(config, spec, "full_attention");
  RopeSpec local = global;
  if (config.has({"rope_parameters.sliding_attention", ""})) {
    local = read_rope(config, spec, "sliding_attention");
  } else {
    // Only the layers that see everything are scaled.
    local = {.rotary_dim = global.rotary_dim,
             .base = config.number_or({"rope_local_base_freq", "rope.freq_base_swa"}, kLocalBase)};
    if (!config.has({"rope_theta", "rope.freq_base"})) global.base = kGlobalBase;
  }
  spec.ropes = {global, local};
}

void read_windows(ConfigReader& config, DecoderSpec& spec) {
  const int64_t window =
      config.count_or({"sliding_window", "attention.sliding_window"}, kMaxContext, kWindow);
  const int64_t pattern =
      config.count_or({"sliding_window_pattern", "attention.sliding_window_pattern"}, kMaxLayers,
                      config.count_or({"_sliding_window_pattern", ""}, kMaxLayers, kPattern));
  const std::vector<std::string> types = config.texts({"layer_types", ""});
  if (!types.empty() && types.size() != spec.layers.size())
    return config.reject(ErrorCode::corrupt, "'layer_types' has {} entries for {} layers", types.size(),
                         spec.layers.size());
  for (size_t i = 0; i < spec.layers.size(); ++i) {
    const bool is_global =
        types.empty() ? (static_cast<int64_t>(i) + 1) % pattern == 0 : types[i] == "full_attention";
    spec.layers[i] = {is_global ? 0 : window, is_global ? kGlobal : kLocal};
  }
}

double query_scalar(ConfigReader& config, const DecoderSpec& spec) {
  const double head_dim = spec.attention.head_dim;
  if (!config.is_gguf()) return config.number_or({"query_pre_attn_scalar", ""}, kDefaults.head_dim);
  // GGUF files do not hold it. Only the 27B model, known by its 62 layers, has another value than head_dim.
  constexpr size_t kLayersOf27B = 62;
  if (spec.layers.size() != kLayersOf27B) return head_dim;
  return static_cast<double>(spec.hidden_size) / spec.attention.num_heads;
}

}  // namespace

void read_gemma3(ConfigReader& config, DecoderSpec& spec, WeightLayout& layout) {
  config.descend("text_config");
  DimensionDefaults defaults = kDefaults;
  if (config.is_gguf()) defaults = {};
  read_dimensions(config, {}, defaults, spec);
  read_norm(config, NormKind::rms, {"rms_norm_eps", "attention.layer_norm_rms_epsilon"}, spec);
  read_ffn(config, {"intermediate_size", "feed_forward_length"},
           config.has({"hidden_activation", ""}) ? ConfigKey{"hidden_activation", ""}
                                                 : ConfigKey{"hidden_act", ""},
           Activation::Kind::gelu_tanh, spec);
  read_ropes(config, spec);
  read_windows(config, spec);
  const double scalar = query_scalar(config, spec);
  if (scalar <= 0.0) config.reject(ErrorCode::corrupt, "'query_pre_attn_scalar' is {}", scalar);
  spec.attention.scale = static_cast<float>(1.0 / std::sqrt(scalar));
  spec.attention.softcap = static_cast<float>(config.number_or({"attn_logit_softcapping", ""}, 0.0));
  spec.final_softcap = static_cast<float>(config.number_or({"final_logit_softcapping", ""}, 0.0));
  spec.embedding.scale = static_cast<float>(std::sqrt(static_cast<double>(spec.hidden_size)));
  if (config.flag_or({"use_bidirectional_attention", ""}, false))
    config.reject(ErrorCode::unsupported, "attention that looks ahead is not supported");
  layout.names = &kNames;
  layout.is_tied = config.flag_or({"tie_word_embeddings", ""}, true);
  const bool has_bias = config.flag_or({"attention_bias", ""}, false);
  layout.qkv_bias = has_bias ? Presence::yes : Presence::no;
  layout.o_bias = layout.qkv_bias;
  layout.norm_offset = config.is_gguf() ? 0.0f : 1.0f;
}

}  // namespace pagoda
