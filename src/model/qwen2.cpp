// Qwen2 and Qwen2.5: Llama's shape with biases on q, k and v; later layers may have a sliding window.
#include "model/architectures.h"
#include "model/llama_names.h"
#include "model/read_config.h"

namespace pagoda {

namespace {

void read_windows(ConfigReader& config, DecoderSpec& spec) {
  if (!config.flag_or({"use_sliding_window", ""}, false) || !config.has({"sliding_window", ""})) return;
  const int64_t window = config.count({"sliding_window", ""}, kMaxContext);
  const std::vector<std::string> types = config.texts({"layer_types", ""});
  const double first = config.number_or({"max_window_layers", ""}, 0.0);
  if (!types.empty() && types.size() != spec.layers.size())
    return config.reject(ErrorCode::corrupt, "'layer_types' has {} entries for {} layers", types.size(),
                         spec.layers.size());
  for (size_t i = 0; i < spec.layers.size(); ++i) {
    const bool is_sliding = types.empty() ? static_cast<double>(i) >= first : types[i] == "sliding_attention";
    if (is_sliding) spec.layers[i].window = window;
  }
}

}  // namespace

void read_qwen2(ConfigReader& config, DecoderSpec& spec, WeightLayout& layout) {
  read_dimensions(config, {}, {}, spec);
  read_norm(config, NormKind::rms, {"rms_norm_eps", "attention.layer_norm_rms_epsilon"}, spec);
  read_ffn(config, {"intermediate_size", "feed_forward_length"}, {"hidden_act", ""}, Activation::Kind::silu,
           spec);
  spec.ropes = {read_rope(config, spec)};
  read_windows(config, spec);
  layout.names = &kLlamaNames;
  layout.is_tied = config.flag_or({"tie_word_embeddings", ""}, false);
  layout.qkv_bias = Presence::yes;
}

}  // namespace pagoda
