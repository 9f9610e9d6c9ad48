// From names in a model file to packed weights in memory: first every wanted tensor is named and checked,
// then memory of the exact size is taken once and filled by all threads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "io/model_file.h"
#include "weights/decoder_weights.h"

namespace pagoda {

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
};

enum class MatrixStorage {
  rows,     // [out_features, in_features]
  columns,  // [in_features, out_features]; floating point only
};

struct LinearSource {
  std::string weight = {};
  std::string bias = {};  // empty: none
  int64_t num_rows = 0;
  int64_t num_cols = 0;
  RowSelection rows = {};  // of weight and bias
  MatrixStorage storage = MatrixStorage::rows;
};

struct VectorSource {
  std::string name;
  int64_t size = 0;
  RowSelection elements;
  float offset = 0.0f;  // added to every element: norms that store weight - 1
};

struct PackProgress {
  void (*report)(void* context, double fraction) = nullptr;  // called by the loading thread, 0 … 1
  void* context = nullptr;
};

// Targets are filled by load() and must stay where they are until then. A missing tensor or one of another
// shape is `corrupt` and named.
class WeightPlan {
 public:
  explicit WeightPlan(const ModelFile& file) : file_(&file) {}

  Status add_linear(const LinearSource& source, LinearWeight& target);
  Status add_vector(const VectorSource& source, const float*& target);
  Status add_rows(const std::string& name, int64_t num_rows, int64_t num_cols, RowTable& target);

  // Bytes of memory that load() takes.
  uint64_t num_bytes() const { return num_bytes_; }
  // Parameters named so far; a tensor counts once however often it is used in parts.
  int64_t num_parameters() const { return num_parameters_; }
  // Tensors of the file that nobody asked for.
  std::vector<std::string> unused_tensors() const;

  // Takes the memory, packs and fills the targets. out_of_memory if the system refuses.
  Result<AlignedBuffer> load(ThreadPool& pool, const PackProgress& progress);

 private:
  struct Matrix {
    const NamedTensor* tensor;
    int64_t num_rows;
    int64_t num_cols;
    RowSelection rows;
    MatrixStorage storage;
    uint64_t offset;
    LinearWeight* target;
  };
  struct Vector {
    const NamedTensor* tensor;
    int64_t size;
    RowSelection elements;
    float addend;
    uint64_t offset;
    const float** target;
  };
  struct Rows {
    const NamedTensor* tensor;
    uint64_t offset;
    RowTable* target;
  };

  Result<const NamedTensor*> find(const std::string& name);
  uint64_t reserve(uint64_t num_bytes);
  static void pack_matrix(const Matrix& matrix, ThreadPool& pool, std::byte* out);
  static void copy_rows(const Rows& rows, ThreadPool& pool, std::byte* out);
  static void convert_vector(const Vector& vector, float* out);

  const ModelFile* file_;
  std::vector<Matrix> matrices_;
  std::vector<Vector> vectors_;
  std::vector<Rows> tables_;
  std::vector<const NamedTensor*> used_;
  uint64_t num_bytes_ = 0;
  int64_t num_parameters_ = 0;
};

}  // namespace pagoda
