// Element types of weights and activations, and the block geometry of the quantised GGUF formats.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace pagoda {

enum class DType : uint8_t {
  f32,
  f16,
  bf16,
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  q8_0,
  q2_k,
  q3_k,
  q4_k,
  q5_k,
  q6_k,
  iq4_nl,
};

struct DTypeInfo {
  std::string_view name;  // as GGUF tools print it, in lower case
  uint32_t ggml_id;       // type id in a GGUF file
  uint32_t block_len;     // elements in a block; 1 for plain types
  uint32_t block_bytes;   // bytes of a block
};

const DTypeInfo& info(DType dtype);
std::optional<DType> dtype_from_ggml_id(uint32_t id);
inline std::string_view to_string(DType dtype) {
  return info(dtype).name;
}
inline bool is_float(DType dtype) {
  return dtype <= DType::bf16;
}

// Bytes of a row of `num_elements`, which must be a multiple of the block length.
size_t row_bytes(DType dtype, size_t num_elements);

}  // namespace pagoda
