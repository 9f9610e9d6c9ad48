#include "weights/weight_plan.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "tensor/dequantize.h"

namespace pagoda {

namespace {

constexpr uint64_t kAlignment = 64;
constexpr size_t kGroupsPerChunk = 4;

Status check_dtype(const NamedTensor& tensor, int64_t num_cols) {
  const DTypeInfo& type = info(tensor.view.dtype);
  if (num_cols % type.block_len != 0)
    return fail(ErrorCode::corrupt, "tensor '{}': rows of {} are no whole number of {} blocks ({})",
                tensor.name, num_cols, type.name, type.block_len);
  return {};
}

// Dimensions of 1 do not count: some files store vectors as [1, n].
bool is_vector(const Shape& shape, int64_t size) {
  int64_t longest = 1;
  for (int axis = 0; axis < shape.rank; ++axis) longest = std::max(longest, shape[axis]);
  return shape.num_elements() == size && longest == size;
}

// Gathers columns [first, first + 16) of a matrix stored by columns as rows of `num_cols` elements.
void gather_columns(const TensorView& view, std::span<const int64_t, 16> columns, int64_t num_cols,
                    size_t bytes, std::byte* out) {
  for (int64_t k = 0; k < num_cols; ++k) {
    const std::byte* row = view.row(k).data();
    for (size_t r = 0; r < 16; ++r) {
      if (columns[r] < 0) continue;
      std::memcpy(out + (r * static_cast<size_t>(num_cols) + static_cast<size_t>(k)) * bytes,
                  row + static_cast<size_t>(columns[r]) * bytes, bytes);
    }
  }
}

}  // namespace

int64_t RowSelection::stored_row(int64_t row) const {
  if (head_dim == 0) return first_row + row;
  const int64_t head = row / head_dim;
  const int64_t i = row % head_dim;
  if (i >= rotary_dim) return first_row + row;
  const int64_t half = rotary_dim / 2;
  return first_row + head * head_dim + i % half * 2 + i / half;
}

Result<const NamedTensor*> WeightPlan::find(const std::string& name) {
  const NamedTensor* tensor = file_->find(name);
  if (const UnreadTensor* unread = file_->find_unread(name))
    return fail(ErrorCode::unsupported, "{}: tensor '{}' has the dtype {}; Pagoda reads F32, F16 and BF16",
                file_->path(), name, unread->dtype);
  if (tensor == nullptr)
    return fail(ErrorCode::corrupt,
                "{}: tensor '{}' is missing; the file is incomplete or of another architecture",
                file_->path(), name);
  if (std::find(used_.begin(), used_.end(), tensor) == used_.end()) {
    used_.push_back(tensor);
    num_parameters_ += tensor->view.shape.num_elements();
  }
  return tensor;
}

uint64_t WeightPlan::reserve(uint64_t num_bytes) {
  const uint64_t offset = num_bytes_;
  num_bytes_ += (num_bytes + kAlignment - 1) / kAlignment * kAlignment;
  return offset;
}

Status WeightPlan::add_linear(const LinearSource& source, LinearWeight& target) {
  PAGODA_TRY(const NamedTensor* tensor, find(source.weight));
  const TensorView& view = tensor->view;
  const int64_t stored_rows =
      source.rows.num_stored_rows != 0 ? source.rows.num_stored_rows : source.num_rows;
  const bool by_columns = source.storage == MatrixStorage::columns;
  const Shape expected =
      by_columns ? Shape{2, {source.num_cols, stored_rows}} : Shape{2, {stored_rows, source.num_cols}};
  if (view.shape != expected)
    return fail(ErrorCode::corrupt, "{}: tensor '{}' has the shape {}, but the configuration asks for {}",
                file_->path(), tensor->name, view.shape.to_string(), expected.to_string());
  if (by_columns && !is_float(view.dtype))
    return fail(ErrorCode::unsupported, "tensor '{}' of type {} is stored transposed", tensor->name,
                to_string(view.dtype));
  PAGODA_TRY_STATUS(check_dtype(*tensor, source.num_cols));
  const auto num_groups = static_cast<uint64_t>((source.num_rows + kRowsPerGroup - 1) / kRowsPerGroup);
  const uint64_t offset = reserve(num_groups * packed_group_bytes(view.dtype, source.num_cols));
  target.matrix = {view.dtype, source.num_rows, source.num_cols, nullptr};
  matrices_.push_back(
      {tensor, source.num_rows, source.num_cols, source.rows, source.storage, offset, &target});
  if (source.bias.empty()) return {};
  return add_vector({source.bias, source.num_rows, source.rows, 0.0f}, target.bias);
}

Status WeightPlan::add_vector(const VectorSource& source, const float*& target) {
  PAGODA_TRY(const NamedTensor* tensor, find(source.name));
  const int64_t stored = source.elements.num_stored_rows != 0 ? source.elements.num_stored_rows : source.size;
  if (!is_vector(tensor->view.shape, stored))
    return fail(ErrorCode::corrupt, "{}: tensor '{}' has the shape {}, but the configuration asks for [{}]",
                file_->path(), tensor->name, tensor->view.shape.to_string(), stored);
  PAGODA_TRY_STATUS(check_dtype(*tensor, stored));
  const uint64_t offset = reserve(static_cast<uint64_t>(source.size) * sizeof(float));
  vectors_.push_back({tensor, source.size, source.elements, source.offset, offset, &target});
  return {};
}

Status WeightPlan::add_rows(const std::string& name, int64_t num_rows, int64_t num_cols, RowTable& target) {
  PAGODA_TRY(const NamedTensor* tensor, find(name));
  const Shape expected = {2, {num_rows, num_cols}};
  if (tensor->view.shape != expected)
    return fail(ErrorCode::corrupt, "{}: tensor '{}' has the shape {}, but the configuration asks for {}",
                file_->path(), tensor->name, tensor->view.shape.to_string(), expected.to_string());
  PAGODA_TRY_STATUS(check_dtype(*tensor, num_cols));
  target.dtype = tensor->view.dtype;
  target.num_rows = num_rows;
  target.num_cols = num_cols;
  tables_.push_back({tensor, reserve(tensor->view.data.size()), &target});
  return {};
}

std::vector<std::string> WeightPlan::unused_tensors() const {
  std::vector<const NamedTensor*> used = used_;
  std::sort(used.begin(), used.end());
  std::vector<std::string> names;
  for (const NamedTensor& tensor : file_->tensors())
    if (!std::binary_search(used.begin(), used.end(), &tensor)) names.push_back(tensor.name);
  return names;
}

void WeightPlan::pack_matrix(const Matrix& matrix, ThreadPool& pool, std::byte* out) {
  const TensorView& view = matrix.tensor->view;
  const size_t group_bytes = packed_group_bytes(view.dtype, matrix.num_cols);
  const auto num_groups = static_cast<size_t>((matrix.num_rows + kRowsPerGroup - 1) / kRowsPerGroup);
  const bool by_columns = matrix.storage == MatrixStorage::columns;
  const size_t gathered_row_bytes =
      by_columns ? row_bytes(view.dtype, static_cast<size_t>(matrix.num_cols)) : 0;
  pool.parallel_for(num_groups, kGroupsPerChunk, [&](size_t begin, size_t end, int) {
    std::vector<std::byte> gathered(16 * gathered_row_bytes);
    for (size_t group = begin; group < end; ++group) {
      std::array<int64_t, 16> indices;
      std::array<const std::byte*, 16> rows;
      for (size_t r = 0; r < 16; ++r) {
        const auto row = static_cast<int64_t>(group * 16 + r);
        indices[r] = row < matrix.num_rows ? matrix.rows.stored_row(row) : -1;
        rows[r] = indices[r] < 0 ? nullptr
                  : by_columns   ? gathered.data() + r * gathered_row_bytes
                                 : view.row(indices[r]).data();
      }
      if (by_columns)
        gather_columns(view, indices, matrix.num_cols, info(view.dtype).block_bytes, gathered.data());
      pack_group(view.dtype, rows, matrix.num_cols, out + group * group_bytes);
    }
  });
}

void WeightPlan::copy_rows(const Rows& rows, ThreadPool& pool, std::byte* out) {
  constexpr size_t kChunk = size_t{1} << 20;
  const std::span<const std::byte> data = rows.tensor->view.data;
  pool.parallel_for((data.size() + kChunk - 1) / kChunk, 1, [&](size_t begin, size_t end, int) {
    const size_t from = begin * kChunk;
    std::memcpy(out + from, data.data() + from, std::min(end * kChunk, data.size()) - from);
  });
}

void WeightPlan::convert_vector(const Vector& vector, float* out) {
  const TensorView& view = vector.tensor->view;
  std::vector<float> stored(static_cast<size_t>(view.shape.num_elements()));
  dequantize_row(view.dtype, view.data, stored);
  for (int64_t i = 0; i < vector.size; ++i)
    out[i] = stored[static_cast<size_t>(vector.elements.stored_row(i))] + vector.addend;
}

Result<AlignedBuffer> WeightPlan::load(ThreadPool& pool, const PackProgress& progress) {
  auto allocated = AlignedBuffer::allocate(num_bytes_);
  if (!allocated)
    return fail(ErrorCode::out_of_memory, "the weights of {}: {}", file_->path(), allocated.error().message);
  AlignedBuffer buffer = std::move(*allocated);
  uint64_t done = 0;
  const auto advance = [&](uint64_t num_bytes) {
    done += num_bytes;
    if (progress.report != nullptr)
      progress.report(progress.context, static_cast<double>(done) / static_cast<double>(num_bytes_));
  };
  for (const Vector& vector : vectors_) {
    auto* out = reinterpret_cast<float*>(buffer.data() + vector.offset);
    convert_vector(vector, out);
    *vector.target = out;
  }
  for (const Rows& rows : tables_) {
    copy_rows(rows, pool, buffer.data() + rows.offset);
    rows.target->stored = buffer.data() + rows.offset;
    advance(rows.tensor->view.data.size());
  }
  for (const Matrix& matrix : matrices_) {
    pack_matrix(matrix, pool, buffer.data() + matrix.offset);
    matrix.target->matrix.data = buffer.data() + matrix.offset;
    advance(static_cast<uint64_t>(matrix.target->matrix.num_groups()) *
            packed_group_bytes(matrix.target->matrix.dtype, matrix.num_cols));
  }
  if (progress.report != nullptr) progress.report(progress.context, 1.0);
  return buffer;
}

}  // namespace pagoda
