#include "weights/weight_plan.h"

#include <algorithm>

#include "base/log.h"
#include "io/block_file.h"
#include "weights/packed_cache.h"

namespace pagoda {

namespace {

constexpr uint64_t kAlignment = 64;

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

}  // namespace

int64_t RowSelection::stored_row(int64_t row) const {
  if (head_dim == 0) return first_row + row;
  const int64_t head = row / head_dim;
  const int64_t i = row % head_dim;
  if (i >= rotary_dim) return first_row + row;
  const int64_t half = rotary_dim / 2;
  return first_row + head * head_dim + i % half * 2 + i / half;
}

size_t PlannedMatrix::num_groups() const {
  return static_cast<size_t>((num_rows + kRowsPerGroup - 1) / kRowsPerGroup);
}

size_t PlannedMatrix::group_bytes() const {
  return packed_group_bytes(tensor->view.dtype, num_cols);
}

Result<const NamedTensor*> WeightPlan::find(const std::string& name) {
  const NamedTensor* tensor = weights_.file->find(name);
  if (const UnreadTensor* unread = weights_.file->find_unread(name))
    return fail(ErrorCode::unsupported, "{}: tensor '{}' has the dtype {}; Pagoda reads F32, F16 and BF16",
                weights_.file->path(), name, unread->dtype);
  if (tensor == nullptr)
    return fail(ErrorCode::corrupt,
                "{}: tensor '{}' is missing; the file is incomplete or of another architecture",
                weights_.file->path(), name);
  if (std::find(used_.begin(), used_.end(), tensor) == used_.end()) {
    used_.push_back(tensor);
    num_parameters_ += tensor->view.shape.num_elements();
  }
  return tensor;
}

uint64_t WeightPlan::reserve(uint64_t num_bytes) {
  const uint64_t offset = weights_.num_bytes;
  weights_.num_bytes += (num_bytes + kAlignment - 1) / kAlignment * kAlignment;
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
                weights_.file->path(), tensor->name, view.shape.to_string(), expected.to_string());
  if (by_columns && !is_float(view.dtype))
    return fail(ErrorCode::unsupported, "tensor '{}' of type {} is stored transposed", tensor->name,
                to_string(view.dtype));
  PAGODA_TRY_STATUS(check_dtype(*tensor, source.num_cols));
  const auto num_groups = static_cast<uint64_t>((source.num_rows + kRowsPerGroup - 1) / kRowsPerGroup);
  const uint64_t offset = reserve(num_groups * packed_group_bytes(view.dtype, source.num_cols));
  target.matrix = {view.dtype, source.num_rows, source.num_cols, nullptr, float_activations_};
  weights_.matrices.push_back(
      {tensor, source.num_rows, source.num_cols, source.rows, source.storage, offset, &target});
  if (source.bias.empty()) return {};
  return add_vector({source.bias, source.num_rows, source.rows, 0.0f}, target.bias);
}

Status WeightPlan::add_vector(const VectorSource& source, const float*& target) {
  PAGODA_TRY(const NamedTensor* tensor, find(source.name));
  const int64_t stored = source.elements.num_stored_rows != 0 ? source.elements.num_stored_rows : source.size;
  if (!is_vector(tensor->view.shape, stored))
    return fail(ErrorCode::corrupt, "{}: tensor '{}' has the shape {}, but the configuration asks for [{}]",
                weights_.file->path(), tensor->name, tensor->view.shape.to_string(), stored);
  PAGODA_TRY_STATUS(check_dtype(*tensor, stored));
  const uint64_t offset = reserve(static_cast<uint64_t>(source.size) * sizeof(float));
  weights_.vectors.push_back({tensor, source.size, source.elements, source.offset, offset, &target});
  return {};
}

Status WeightPlan::add_rows(const std::string& name, int64_t num_rows, int64_t num_cols, RowTable& target) {
  PAGODA_TRY(const NamedTensor* tensor, find(name));
  const Shape expected = {2, {num_rows, num_cols}};
  if (tensor->view.shape != expected)
    return fail(ErrorCode::corrupt, "{}: tensor '{}' has the shape {}, but the configuration asks for {}",
                weights_.file->path(), tensor->name, tensor->view.shape.to_string(), expected.to_string());
  PAGODA_TRY_STATUS(check_dtype(*tensor, num_cols));
  target.dtype = tensor->view.dtype;
  target.num_rows = num_rows;
  target.num_cols = num_cols;
  target.stored = tensor->view.data.data();
  target.file = weights_.file->mapping(tensor->file_index);
  weights_.tables.push_back(tensor);
  return {};
}

std::vector<std::string> WeightPlan::unused_tensors() const {
  std::vector<const NamedTensor*> used = used_;
  std::sort(used.begin(), used.end());
  std::vector<std::string> names;
  for (const NamedTensor& tensor : weights_.file->tensors())
    if (!std::binary_search(used.begin(), used.end(), &tensor)) names.push_back(tensor.name);
  return names;
}

Result<AlignedBuffer> WeightPlan::allocate() const {
  auto allocated = AlignedBuffer::allocate(weights_.num_bytes);
  if (!allocated)
    return fail(ErrorCode::out_of_memory, "the weights of {}: {}", weights_.file->path(),
                allocated.error().message);
  return allocated;
}

void WeightPlan::fill_targets(const std::byte* memory) const {
  for (const PlannedMatrix& matrix : weights_.matrices) matrix.target->matrix.data = memory + matrix.offset;
  for (const PlannedVector& vector : weights_.vectors)
    *vector.target = reinterpret_cast<const float*>(memory + vector.offset);
}

std::optional<AlignedBuffer> WeightPlan::load_cache(ThreadPool& pool, const PackProgress& progress,
                                                    const std::string& path) const {
  auto buffer = allocate();
  if (!buffer) return std::nullopt;
  const Status status = read_block_file(path, packed_cache_id(weights_), buffer->bytes(), pool.num_threads(),
                                        {progress.report, progress.context});
  if (status) return std::move(*buffer);
  if (status.error().code != ErrorCode::not_found)
    PAGODA_WARN("the packed weights are not used but made anew: {}", status.error().message);
  return std::nullopt;
}

void WeightPlan::write_cache(ThreadPool& pool, const std::string& path, const AlignedBuffer& buffer) const {
  Status status = check_unchanged(*weights_.file);
  if (status)
    status =
        write_block_file(path, packed_cache_id(weights_), {buffer.data(), buffer.size()}, pool.num_threads());
  if (!status)
    PAGODA_WARN("the packed weights are not kept for the next start: {}", status.error().message);
  else
    PAGODA_INFO("the packed weights are kept in {}", path);
}

std::vector<std::shared_ptr<const MappedFile>> WeightPlan::files_of_tables() const {
  std::vector<std::shared_ptr<const MappedFile>> files;
  for (const NamedTensor* table : weights_.tables)
    if (auto file = weights_.file->share_mapping(table->file_index)) files.push_back(std::move(file));
  return files;
}

void WeightPlan::prefetch_tables() const {
  for (const NamedTensor* table : weights_.tables)
    if (const MappedFile* file = weights_.file->mapping(table->file_index)) file->prefetch(table->view.data);
}

Result<AlignedBuffer> WeightPlan::load(ThreadPool& pool, const PackProgress& progress,
                                       const std::string& cache_path) {
  PAGODA_TRY(AlignedBuffer buffer, load_packed(pool, progress, cache_path));
  fill_targets(buffer.data());
  prefetch_tables();
  return buffer;
}

Result<AlignedBuffer> WeightPlan::load_packed(ThreadPool& pool, const PackProgress& progress,
                                              const std::string& cache_path) const {
  if (!cache_path.empty()) {
    if (std::optional<AlignedBuffer> cached = load_cache(pool, progress, cache_path))
      return std::move(*cached);
  }
  PAGODA_TRY(AlignedBuffer buffer, allocate());
  pack_weights(weights_, pool, progress, buffer.bytes());
  if (!cache_path.empty()) write_cache(pool, cache_path, buffer);
  if (progress.report != nullptr) progress.report(progress.context, 1.0);
  return buffer;
}

}  // namespace pagoda
