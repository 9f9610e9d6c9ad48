// Llama and those built like it (SmolLM2, Mistral): grouped queries, gated FFN, RMSNorm, optional biases.
// GGUF files store the rows of q and k in rotary pairs.

#include "model/architectures.h"
#include "model/llama_names.h"
#include "model/read_config.h"

namespace pagoda {

void read_llama(ConfigReader& config, DecoderSpec& spec, WeightLayout& layout) {
  read_dimensions(config, {}, {}, spec);
  read_norm(config, NormKind::rms, {"rms_norm_eps", "attention.layer_norm_rms_epsilon"}, spec);
  read_ffn(config, {"intermediate_size", "feed_forward_length"}, {"hidden_act", ""}, Activation::Kind::silu,
           spec);
  spec.ropes = {read_rope(config, spec)};
  const auto bias = [&](std::string_view flag) {
    if (config.is_gguf()) return Presence::if_stored;
    return config.flag_or({flag, ""}, false) ? Presence::yes : Presence::no;
  };
  layout.names = &kLlamaNames;
  layout.is_tied = config.flag_or({"tie_word_embeddings", ""}, false);
  layout.qkv_bias = bias("attention_bias");
  layout.o_bias = bias("attention_bias");
  layout.ffn_bias = bias("mlp_bias");
  layout.has_paired_qk = config.is_gguf();
}

void read_mistral(ConfigReader& config, DecoderSpec& spec, WeightLayout& layout) {
  read_llama(config, spec, layout);
  if (!config.has({"sliding_window", ""})) return;
  const int64_t window = config.count({"sliding_window", ""}, kMaxContext);
  for (DecoderSpec::Layer& layer : spec.layers) layer.window = window;
}

}  // namespace pagoda
