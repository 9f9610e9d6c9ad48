// A decoder-only transformer as values: everything in which the architectures differ, so that one layer loop
// runs all.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "nn/attention/gqa_attention.h"
#include "nn/embedding.h"
#include "nn/ffn.h"
#include "nn/rope.h"
#include "weights/weight_plan.h"

namespace pagoda {

struct DecoderSpec {
  struct Layer {
    int64_t window = 0;  // positions that a token sees; 0: all
    int rope = 0;        // index in `ropes`
  };

  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t max_context = 0;
  NormSpec norm;            // of all norms
  AttentionSpec attention;  // its window is set layer by layer
  FfnSpec ffn;
  EmbeddingSpec embedding;
  std::vector<RopeSpec> ropes;  // empty: learned positions
  std::vector<Layer> layers;
  float final_softcap = 0.0f;  // of logits; 0: none
};

// The same tensor's names without ".weight" or ".bias"; empty where an architecture has none.
struct TensorName {
  std::string_view hf;
  std::string_view gguf;

  bool exists() const { return !hf.empty() || !gguf.empty(); }
};

struct DecoderTensorNames {
  std::span<const std::string_view> hf_prefixes = {};  // tried in this order
  std::string_view hf_layers = "layers";               // between the prefix and the layer's number
  TensorName token_embedding = {};
  TensorName position_embedding = {};
  TensorName final_norm = {};
  // In a layer.
  TensorName attention_norm = {};
  TensorName qkv_proj = {};  // q, k and v in one tensor, instead of the next three
  TensorName q_proj = {};
  TensorName k_proj = {};
  TensorName v_proj = {};
  TensorName o_proj = {};
  TensorName q_norm = {};
  TensorName k_norm = {};
  TensorName attention_post_norm = {};
  TensorName ffn_norm = {};
  TensorName gate_proj = {};
  TensorName up_proj = {};
  TensorName down_proj = {};
  TensorName ffn_post_norm = {};
};

enum class Presence { no, yes, if_stored };

// How the file at hand stores the weights.
struct WeightLayout {
  const DecoderTensorNames* names = nullptr;
  bool is_tied = false;  // the output projection is the token embedding; GGUF files tell by what they hold
  Presence qkv_bias = Presence::no;
  Presence o_bias = Presence::no;
  Presence ffn_bias = Presence::no;
  MatrixStorage storage = MatrixStorage::rows;
  bool has_paired_qk = false;  // rotary pairs of q and k are neighbouring rows
  float norm_offset = 0.0f;    // added to the norms' weights
};

}  // namespace pagoda
