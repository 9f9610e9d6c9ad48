// Stored quantisation blocks (GGUF layouts, see tensor/dequantize.cpp) as the integers that linear layers
// multiply.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace pagoda {

// One block of one row. Formats with 32 elements use the first 8 words and no sub-block scales.
struct StoredBlock {
  uint32_t
      words[64];  // 4 neighbouring quants each, the first one lowest: q + zero point of the packed format
  int8_t scales[16];
  uint8_t mins[16];
  uint16_t d;     // f16 bits
  uint16_t dmin;  // f16 bits: m of q4_1 and q5_1, dmin of q*_k
};

// `dtype` must be quantised; `bytes` holds one block.
void read_block(DType dtype, const std::byte* bytes, StoredBlock& block);

}  // namespace pagoda
