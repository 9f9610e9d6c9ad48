#include "model/read_config.h"

#include <cmath>
#include <optional>

namespace pagoda {

namespace {

int64_t required_or(ConfigReader& config, ConfigKey key, int64_t max, int64_t fallback) {
  return fallback == 0 ? config.count(key, max) : config.count_or(key, max, fallback);
}

int64_t read_vocab_size(ConfigReader& config, int64_t fallback) {
  if (!config.is_gguf()) return required_or(config, {"vocab_size", ""}, kMaxVocabSize, fallback);
  const NamedTensor* embedding = config.file().find("token_embd.weight");
  if (embedding != nullptr && embedding->view.num_rows() >= 1 && embedding->view.num_rows() <= kMaxVocabSize)
    return embedding->view.num_rows();
  config.reject(ErrorCode::corrupt, "tensor 'token_embd.weight' is missing or has no rows");
  return 1;
}

std::optional<Activation::Kind> activation_of(std::string_view name) {
  if (name == "silu" || name == "swish") return Activation::Kind::silu;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_fast")
    return Activation::Kind::gelu_tanh;
  if (name == "gelu") return Activation::Kind::gelu_erf;
  if (name == "relu") return Activation::Kind::relu;
  return std::nullopt;
}

RopeSpec::Scaling scaling_of(ConfigReader& config, const std::string& name) {
  if (name == "default" || name == "none") return RopeSpec::Scaling::none;
  if (name == "linear") return RopeSpec::Scaling::linear;
  if (name == "llama3") return RopeSpec::Scaling::llama3;
  if (name == "yarn") return RopeSpec::Scaling::yarn;
  config.reject(ErrorCode::unsupported,
                "the rope scaling '{}' is not supported; known are linear, llama3 and yarn", name);
  return RopeSpec::Scaling::none;
}

// The members of a rope: where theta and where the scaling stand.
struct RopePaths {
  std::string base;
  std::string scaling;
};

RopePaths find_rope(const ConfigReader& config, std::string_view layer_type) {
  const std::string nested = fmt::format("rope_parameters.{}", layer_type);
  if (!layer_type.empty() && config.has({nested, ""})) return {nested + ".rope_theta", nested};
  if (config.has({"rope_parameters", ""})) return {"rope_parameters.rope_theta", "rope_parameters"};
  return {"rope_theta", "rope_scaling"};
}

void read_hf_rope(ConfigReader& config, const DecoderSpec& spec, std::string_view layer_type,
                  RopeSpec& rope) {
  const RopePaths paths = find_rope(config, layer_type);
  const auto member = [&](std::string_view name) { return fmt::format("{}.{}", paths.scaling, name); };
  const auto number_or = [&](std::string_view name, double fallback) {
    return config.number_or({member(name), ""}, fallback);
  };
  rope.base = config.number_or({paths.base, ""}, rope.base);
  const std::string type = config.text_or({member("type"), ""}, "default");
  rope.scaling = scaling_of(config, config.text_or({member("rope_type"), ""}, type));
  rope.factor = number_or("factor", 1.0);
  rope.original_max_context = number_or(
      "original_max_position_embeddings",
      config.number_or({"original_max_position_embeddings", ""}, static_cast<double>(spec.max_context)));
  rope.low_freq_factor = number_or("low_freq_factor", rope.low_freq_factor);
  rope.high_freq_factor = number_or("high_freq_factor", rope.high_freq_factor);
  rope.beta_fast = number_or("beta_fast", rope.beta_fast);
  rope.beta_slow = number_or("beta_slow", rope.beta_slow);
  rope.attention_factor = number_or("attention_factor", 0.0);
  const double fraction =
      number_or("partial_rotary_factor", config.number_or({"partial_rotary_factor", ""}, 1.0));
  if (fraction > 0.0 && fraction <= 1.0)  // else rotary_dim stays 0, which read_rope rejects
    rope.rotary_dim = static_cast<int64_t>(static_cast<double>(spec.attention.head_dim) * fraction);
}

void read_gguf_rope(ConfigReader& config, const DecoderSpec& spec, RopeSpec& rope) {
  rope.base = config.number_or({"", "rope.freq_base"}, rope.base);
  rope.rotary_dim = config.count_or({"", "rope.dimension_count"}, kMaxHeadDim, spec.attention.head_dim);
  rope.factor =
      config.number_or({"", "rope.scaling.factor"}, config.number_or({"", "rope.scale_linear"}, 1.0));
  const std::string_view fallback = rope.factor != 1.0 ? "linear" : "none";
  rope.scaling = scaling_of(config, config.text_or({"", "rope.scaling.type"}, fallback));
  rope.original_max_context =
      config.number_or({"", "rope.scaling.original_context_length"}, static_cast<double>(spec.max_context));
}

bool is_positive(double value) {
  return value > 0.0 && std::isfinite(value);
}

}  // namespace

void read_dimensions(ConfigReader& config, const DimensionKeys& keys, const DimensionDefaults& defaults,
                     DecoderSpec& spec) {
  spec.vocab_size = read_vocab_size(config, defaults.vocab_size);
  spec.hidden_size = config.count(keys.hidden_size, kMaxHiddenSize);
  spec.layers.resize(static_cast<size_t>(config.count(keys.num_layers, kMaxLayers)));
  spec.max_context = required_or(config, keys.max_context, kMaxContext, defaults.max_context);
  const int64_t num_heads = required_or(config, keys.num_heads, kMaxHeads, defaults.num_heads);
  const int64_t num_kv_heads = config.count_or(
      keys.num_kv_heads, kMaxHeads, defaults.num_kv_heads != 0 ? defaults.num_kv_heads : num_heads);
  if (num_heads % num_kv_heads != 0)
    config.reject(ErrorCode::corrupt, "{} attention heads cannot share {} key and value heads", num_heads,
                  num_kv_heads);
  int64_t head_dim = defaults.head_dim;
  if (config.has(keys.head_dim)) {
    head_dim = config.count(keys.head_dim, kMaxHeadDim);
  } else if (head_dim == 0) {
    if (spec.hidden_size % num_heads != 0)
      config.reject(ErrorCode::corrupt, "a hidden size of {} cannot be split over {} attention heads",
                    spec.hidden_size, num_heads);
    head_dim = spec.hidden_size / num_heads;
  }
  if (head_dim < 2 || head_dim % 2 != 0 || head_dim > kMaxHeadDim)
    config.reject(ErrorCode::unsupported,
                  "attention heads of {} dimensions; an even number up to {} is supported", head_dim,
                  kMaxHeadDim);
  spec.attention.num_heads = static_cast<int>(num_heads);
  spec.attention.num_kv_heads = static_cast<int>(num_kv_heads);
  spec.attention.head_dim = static_cast<int>(head_dim);
  spec.attention.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim)));
}

void read_norm(ConfigReader& config, NormKind kind, ConfigKey eps, DecoderSpec& spec) {
  const double value = config.number_or(eps, kind == NormKind::rms ? 1e-6 : 1e-5);
  if (value <= 0.0 || value >= 1.0)
    config.reject(ErrorCode::corrupt, "a norm's epsilon of {} is out of range", value);
  spec.norm = {kind, static_cast<float>(value)};
  spec.attention.norm = spec.norm;
  spec.ffn.norm = spec.norm;
}

void read_ffn(ConfigReader& config, ConfigKey intermediate_size, ConfigKey activation,
              Activation::Kind gguf_activation, DecoderSpec& spec) {
  spec.ffn.intermediate_size = config.count(intermediate_size, kMaxIntermediateSize);
  spec.ffn.activation = gguf_activation;
  if (config.is_gguf()) return;
  const std::string name = config.text_or(activation, "");
  const std::optional<Activation::Kind> kind = activation_of(name);
  if (kind)
    spec.ffn.activation = *kind;
  else
    config.reject(ErrorCode::unsupported, "the activation '{}' ('{}') is not supported", name, activation.hf);
}

RopeSpec read_rope(ConfigReader& config, const DecoderSpec& spec, std::string_view hf_layer_type) {
  RopeSpec rope;
  if (config.is_gguf())
    read_gguf_rope(config, spec, rope);
  else
    read_hf_rope(config, spec, hf_layer_type, rope);
  if (rope.rotary_dim < 2 || rope.rotary_dim % 2 != 0 || rope.rotary_dim > spec.attention.head_dim)
    config.reject(ErrorCode::corrupt, "rope turns {} of {} dimensions; an even number is needed",
                  rope.rotary_dim, spec.attention.head_dim);
  if (!is_positive(rope.base) || rope.base == 1.0 || !is_positive(rope.factor) ||
      !is_positive(rope.original_max_context) || !is_positive(rope.low_freq_factor) ||
      !(rope.high_freq_factor > rope.low_freq_factor) || !is_positive(rope.beta_fast) ||
      !is_positive(rope.beta_slow))
    config.reject(ErrorCode::corrupt, "the values of the rope (base {}, factor {}, …) are out of range",
                  rope.base, rope.factor);
  return rope;
}

}  // namespace pagoda
