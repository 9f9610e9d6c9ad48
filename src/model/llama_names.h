// The tensor names that Llama began and most architectures keep.
#pragma once

#include <array>
#include <string_view>

#include "model/decoder_spec.h"

namespace pagoda {

inline constexpr std::array<std::string_view, 1> kLlamaPrefixes = {"model."};

inline constexpr DecoderTensorNames kLlamaNames = {
    .hf_prefixes = kLlamaPrefixes,
    .token_embedding = {"embed_tokens", "token_embd"},
    .final_norm = {"norm", "output_norm"},
    .attention_norm = {"input_layernorm", "attn_norm"},
    .q_proj = {"self_attn.q_proj", "attn_q"},
    .k_proj = {"self_attn.k_proj", "attn_k"},
    .v_proj = {"self_attn.v_proj", "attn_v"},
    .o_proj = {"self_attn.o_proj", "attn_output"},
    .ffn_norm = {"post_attention_layernorm", "ffn_norm"},
    .gate_proj = {"mlp.gate_proj", "ffn_gate"},
    .up_proj = {"mlp.up_proj", "ffn_up"},
    .down_proj = {"mlp.down_proj", "ffn_down"},
};

}  // namespace pagoda
