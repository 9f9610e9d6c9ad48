// The reference meaning of every element type: what a stored row says in f32. Written for reading, used at
// load, by embedding look-ups and by tests; the layouts are those of GGUF (research note "cpu-perf", section
// 2).
#pragma once

#include <cstddef>
#include <span>

#include "tensor/dtype.h"

namespace pagoda {

// row: row_bytes(dtype, out.size()) bytes; out.size() must be a multiple of the block length.
void dequantize_row(DType dtype, std::span<const std::byte> row, std::span<float> out);

}  // namespace pagoda
