// What every parser of tensor files promises, checked on its result.
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "base/check.h"
#include "io/model_file.h"
#include "tensor/dequantize.h"

namespace pagoda::testing {

// Every tensor lies inside the file, is as large as its type and shape say, and can be read.
inline void check_tensors(std::span<const std::byte> file, const std::vector<NamedTensor>& tensors) {
  for (const NamedTensor& tensor : tensors) {
    const TensorView& view = tensor.view;
    PAGODA_CHECK(view.shape.rank >= 0 && view.shape.rank <= Shape::kMaxRank, "rank {}", view.shape.rank);
    for (int axis = 0; axis < view.shape.rank; ++axis) PAGODA_CHECK(view.shape[axis] > 0, "axis {}", axis);
    const auto num_cols = static_cast<size_t>(view.num_cols());
    PAGODA_CHECK(view.data.size() == static_cast<size_t>(view.num_rows()) * row_bytes(view.dtype, num_cols),
                 "{} bytes for {} of {}", view.data.size(), view.shape.to_string(), to_string(view.dtype));
    PAGODA_CHECK(tensor.file_offset <= file.size() && view.data.size() <= file.size() - tensor.file_offset,
                 "offset {}", tensor.file_offset);
    PAGODA_CHECK(view.data.data() == file.data() + tensor.file_offset, "offset {}", tensor.file_offset);
    std::vector<float> row(num_cols);
    dequantize_row(view.dtype, view.row(view.num_rows() - 1), row);
  }
}

}  // namespace pagoda::testing
