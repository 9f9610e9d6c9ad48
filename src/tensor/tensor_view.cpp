#include "tensor/tensor_view.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/check.h"

namespace pagoda {

int64_t Shape::num_elements() const {
  int64_t count = 1;
  for (int axis = 0; axis < rank; ++axis) count *= dims[axis];
  return count;
}

std::string Shape::to_string() const {
  return fmt::format("[{}]", fmt::join(dims, dims + rank, ", "));
}

std::span<const std::byte> TensorView::row(int64_t index) const {
  PAGODA_CHECK(index >= 0 && index < num_rows(), "row {} of {}", index, num_rows());
  const size_t bytes = row_bytes(dtype, static_cast<size_t>(num_cols()));
  return data.subspan(static_cast<size_t>(index) * bytes, bytes);
}

}  // namespace pagoda
