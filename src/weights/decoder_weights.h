// The weights of a decoder-only transformer as typed structs. Nothing here owns memory: everything points
// into the buffer that WeightPlan::load returns, or, the rows of tables, into the model's file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "io/mapped_file.h"
#include "kernels/linear.h"

namespace pagoda {

struct LinearWeight {
  PackedWeight matrix;
  const float* bias = nullptr;  // [num_rows] or null

  bool exists() const { return matrix.data != nullptr; }
};

// A table whose rows are read one at a time (token and position embeddings). Either rows in the model's file,
// or the packed matrix of a tied output projection, so that tied embeddings are held once.
struct RowTable {
  DType dtype = DType::f32;
  int64_t num_rows = 0;
  int64_t num_cols = 0;
  const std::byte* stored = nullptr;  // [num_rows] rows of row_bytes(dtype, num_cols), or null
  const MappedFile* file = nullptr;   // that maps `stored`, or null where it is other memory
  PackedWeight packed;                // where `stored` is null

  bool exists() const { return stored != nullptr || packed.data != nullptr; }
  // out: [num_cols]. Both forms give the same bits. The program ends with a sentence when the file has become
  // unreadable.
  void read_row(int64_t row, std::span<float> out) const;

 private:
  void read_stored(std::span<const std::byte> row, std::span<float> out) const;
};

// RMSNorm has no bias.
struct NormWeight {
  const float* weight = nullptr;
  const float* bias = nullptr;

  bool exists() const { return weight != nullptr; }
};

struct AttentionWeights {
  NormWeight norm;  // of the input
  LinearWeight q_proj;
  LinearWeight k_proj;
  LinearWeight v_proj;
  LinearWeight o_proj;
  NormWeight q_norm;  // [head_dim], where queries and keys are normalised per head
  NormWeight k_norm;
  NormWeight post_norm;  // of the output, before it joins the residual stream; may not exist
};

struct FfnWeights {
  NormWeight norm;
  LinearWeight gate_proj;  // exists in gated FFNs only
  LinearWeight up_proj;
  LinearWeight down_proj;
  NormWeight post_norm;
};

struct DecoderLayerWeights {
  AttentionWeights attention;
  FfnWeights ffn;
};

// What lies outside the layers.
struct DecoderOuterWeights {
  RowTable token_embedding;
  RowTable position_embedding;  // learned positions only
  NormWeight final_norm;
  LinearWeight head;                    // hidden state to logits
  const float* rope_factors = nullptr;  // [rotary_dim / 2], divides the frequencies; may be null
};

}  // namespace pagoda
