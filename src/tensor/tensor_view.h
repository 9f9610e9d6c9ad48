// A tensor that someone else owns: shape, type and bytes. Rows are contiguous; no strides.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "tensor/dtype.h"

namespace pagoda {

// Up to four dimensions, outermost first (row-major): a linear layer's weight is [out_features, in_features].
struct Shape {
  static constexpr int kMaxRank = 4;
  int rank = 0;
  int64_t dims[kMaxRank] = {};

  int64_t operator[](int axis) const { return dims[axis]; }
  int64_t num_elements() const;
  bool operator==(const Shape&) const = default;
  std::string to_string() const;  // "[49152, 576]"
};

// Valid as long as the owner of `data` lives. `data` holds num_rows() rows of row_bytes(dtype, num_cols()).
struct TensorView {
  DType dtype = DType::f32;
  Shape shape;
  std::span<const std::byte> data;

  int64_t num_cols() const { return shape.rank == 0 ? 1 : shape.dims[shape.rank - 1]; }
  int64_t num_rows() const { return num_cols() == 0 ? 0 : shape.num_elements() / num_cols(); }
  std::span<const std::byte> row(int64_t index) const;
};

}  // namespace pagoda
