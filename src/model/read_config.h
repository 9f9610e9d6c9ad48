// Parts of a configuration that several architectures write alike.
#pragma once

#include <string_view>

#include "kernels/ops.h"
#include "model/config_reader.h"
#include "model/decoder_spec.h"

namespace pagoda {

// Upper bounds of what a configuration may ask for. They only keep sizes from overflowing; tensors decide the
// rest.
inline constexpr int64_t kMaxVocabSize = int64_t{1} << 24;
inline constexpr int64_t kMaxHiddenSize = int64_t{1} << 18;
inline constexpr int64_t kMaxIntermediateSize = int64_t{1} << 20;
inline constexpr int64_t kMaxLayers = 1024;
inline constexpr int64_t kMaxHeads = 1024;  // of kMaxHeadDim dimensions (kernels/ops.h)
inline constexpr int64_t kMaxContext = int64_t{1} << 30;

// Names that differ between architectures.
struct DimensionKeys {
  ConfigKey hidden_size = {"hidden_size", "embedding_length"};
  ConfigKey num_layers = {"num_hidden_layers", "block_count"};
  ConfigKey num_heads = {"num_attention_heads", "attention.head_count"};
  ConfigKey num_kv_heads = {"num_key_value_heads", "attention.head_count_kv"};
  ConfigKey head_dim = {"head_dim", "attention.key_length"};
  ConfigKey max_context = {"max_position_embeddings", "context_length"};
};
// What is assumed where a value is absent; 0: it must be there (head_dim: hidden_size / num_heads).
struct DimensionDefaults {
  int64_t vocab_size = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;  // 0: as many as heads
  int64_t head_dim = 0;
  int64_t max_context = 0;
};

// Vocabulary, hidden size, layers, heads, context and the attention's usual scale. GGUF: the vocabulary is as
// large as the embedding.
void read_dimensions(ConfigReader& config, const DimensionKeys& keys, const DimensionDefaults& defaults,
                     DecoderSpec& spec);

// The norm of the whole model; eps must lie in (0, 1).
void read_norm(ConfigReader& config, NormKind kind, ConfigKey eps, DecoderSpec& spec);

// The FFN's activation. GGUF files do not say: gguf_activation.
void read_ffn(ConfigReader& config, ConfigKey intermediate_size, ConfigKey activation,
              Activation::Kind gguf_activation, DecoderSpec& spec);

// Rotary embedding. hf_layer_type: the member of rope_parameters in files that hold one per kind of layer.
// Unknown scalings are `unsupported`.
RopeSpec read_rope(ConfigReader& config, const DecoderSpec& spec, std::string_view hf_layer_type = "");

}  // namespace pagoda
