// Single rows back out of a packed weight: tied embeddings are held once, packed for the output projection.
#pragma once

#include <span>

#include "kernels/linear.h"

namespace pagoda {

// out: [num_cols], the same bits as dequantize_row gives for the stored row. Allocates nothing.
void unpack_row(const PackedWeight& weight, int64_t row, std::span<float> out);

}  // namespace pagoda
