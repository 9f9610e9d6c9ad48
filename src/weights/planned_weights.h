// What a WeightPlan has found out: which part of which tensor goes where in the packed memory, and how.
#pragma once

#include <cstdint>
#include <vector>

#include "io/model_file.h"
#include "weights/decoder_weights.h"

namespace pagoda {

struct RowRange {
  int64_t begin = 0;
  int64_t end = 0;
};

// Which rows of a stored tensor make up a weight, and in which order.
struct RowSelection {
  int64_t first_row = 0;
  int64_t num_stored_rows = 0;  // of the whole tensor; 0: as many as the weight has
  // Heads of which the first `rotary_dim` rows are stored as neighbouring pairs (0, d/2, 1, d/2 + 1, …) and
  // wanted as halves. 0: as stored.
  int64_t head_dim = 0;
  int64_t rotary_dim = 0;

  // The stored row of row `row` of the weight.
  int64_t stored_row(int64_t row) const;
  // The shortest range that holds the stored rows of rows [begin, end), which is not empty.
  RowRange stored_rows(int64_t begin, int64_t end) const;
};

enum class MatrixStorage {
  rows,     // [out_features, in_features]
  columns,  // [in_features, out_features]; floating point only
};

struct PlannedMatrix {
  const NamedTensor* tensor;
  int64_t num_rows;
  int64_t num_cols;
  RowSelection rows;
  MatrixStorage storage;
  Packing packing;
  LinearWeight* target;
  uint64_t offset = 0;          // in the packed memory, as those below
  uint64_t details_offset = 0;  // where the packing has details

  int64_t rows_per_group() const { return pagoda::rows_per_group(packing); }
  size_t num_groups() const;
  size_t group_bytes() const;  // packed
  size_t details_bytes() const;
};

struct PlannedVector {
  const NamedTensor* tensor;
  int64_t size;
  RowSelection elements;
  float addend;
  const float** target;
  uint64_t offset = 0;
};

struct PlannedWeights {
  const ModelFile* file = nullptr;
  std::vector<PlannedMatrix> matrices;
  std::vector<PlannedVector> vectors;
  std::vector<const NamedTensor*> tables;  // not packed: their rows are read where they lie in the file
  uint64_t num_bytes = 0;

  // Gives everything its place, and num_bytes; to be called after any change of what there is or how it is
  // packed.
  void place();
};

}  // namespace pagoda
