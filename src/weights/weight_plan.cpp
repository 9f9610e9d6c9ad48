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

RowRange RowSelection::stored_rows(int64_t begin, int64_t end) const {
  if (head_dim == 0) return {first_row + begin, first_row + end};
  RowRange range = {stored_row(begin), stored_row(begin) + 1};
  for (int64_t row = begin + 1; row < end; ++row) {
    range.begin = std::min(range.begin, stored_row(row));
    range.end = std::max(range.end, stored_row(row) + 1);
  }
  return range;
}

size_t PlannedMatrix::num_groups() const {
  return static_cast<size_t>((num_rows + rows_per_group() - 1) / rows_per_group());
}

size_t PlannedMatrix::group_bytes() const {
  return packed_group_bytes(tensor->view.dtype, packing, num_cols);
}

size_t PlannedMatrix::details_bytes() const {
  return packed_details_bytes(tensor->view.dtype, packing, num_cols);
}

void PlannedWeights::place() {
  num_bytes = 0;
  const auto reserve = [&](uint64_t size) {
    const uint64_t offset = num_bytes;
    num_bytes += (size + kAlignment - 1) / kAlignment * kAlignment;
    return offset;
  };
  for (PlannedMatrix& matrix : matrices) {
    matrix.offset = reserve(matrix.num_groups() * matrix.group_bytes());
    matrix.details_offset = reserve(matrix.num_groups() * matrix.details_bytes());
  }
  for (PlannedVector& vector : vectors)
    vector.offset = reserve(static_cast<uint64_t>(vector.size) * sizeof(float));
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
  Packing packing =
      bf16_packing_ == Packing::palette ? smallest_packing(view.dtype, source.num_cols) : Packing::plain;
  if (source.outline && has_outline(view.dtype, source.num_cols)) packing = Packing::outline;
  target.matrix = {view.dtype, source.num_rows, source.num_cols, nullptr, float_activations_, packing};
  weights_.matrices.push_back(
      {tensor, source.num_rows, source.num_cols, source.rows, source.storage, packing, &target});
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
  weights_.vectors.push_back({tensor, source.size, source.elements, source.offset, &target});
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

Result<AlignedBuffer> WeightPlan::allocate(uint64_t max_bytes) {
  weights_.place();
  if (weights_.num_bytes > max_bytes)
    return fail(ErrorCode::out_of_memory,
                "{}: the weights need {} bytes of memory, but only {} are allowed; raise --memory",
                weights_.file->path(), weights_.num_bytes, max_bytes);
  auto allocated = AlignedBuffer::allocate(weights_.num_bytes);
  if (!allocated)
    return fail(ErrorCode::out_of_memory, "the weights of {}: {}", weights_.file->path(),
                allocated.error().message);
  return allocated;
}

void WeightPlan::fill_targets(const std::byte* memory) const {
  for (const PlannedMatrix& matrix : weights_.matrices) {
    matrix.target->matrix.data = memory + matrix.offset;
    matrix.target->matrix.packing = matrix.packing;
    if (matrix.packing == Packing::outline) matrix.target->matrix.details = memory + matrix.details_offset;
  }
  for (const PlannedVector& vector : weights_.vectors)
    *vector.target = reinterpret_cast<const float*>(memory + vector.offset);
}

Result<AlignedBuffer> WeightPlan::read_cache(ThreadPool& pool, const WorkProgress& progress,
                                             const std::string& path, uint64_t max_bytes) {
  const BlockFileId id = packed_cache_id(weights_);
  PAGODA_TRY(const std::vector<std::byte> note, read_block_file_note(path, id));
  PAGODA_TRY_STATUS(apply_packings(path, note, weights_));
  PAGODA_TRY(AlignedBuffer buffer, allocate(max_bytes));
  PAGODA_TRY_STATUS(read_block_file(path, id, buffer.bytes(), pool.num_threads(), progress));
  return buffer;
}

void WeightPlan::write_cache(ThreadPool& pool, const std::string& path, const AlignedBuffer& buffer) const {
  Status status = check_unchanged(*weights_.file);
  if (status)
    status = write_block_file(path, packed_cache_id(weights_), describe_packings(weights_),
                              {buffer.data(), buffer.size()}, pool.num_threads());
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

Result<AlignedBuffer> WeightPlan::load(const LinearKernels& kernels, ThreadPool& pool,
                                       const WorkProgress& progress, const std::string& cache_path,
                                       uint64_t max_bytes) {
  PAGODA_TRY(AlignedBuffer buffer, load_packed(kernels, pool, progress, cache_path, max_bytes));
  fill_targets(buffer.data());
  prefetch_tables();
  return buffer;
}

Result<AlignedBuffer> WeightPlan::load_packed(const LinearKernels& kernels, ThreadPool& pool,
                                              const WorkProgress& progress, const std::string& cache_path,
                                              uint64_t max_bytes) {
  if (!cache_path.empty()) {
    auto cached = read_cache(pool, progress, cache_path, max_bytes);
    if (cached || cached.error().code == ErrorCode::out_of_memory) return cached;
    if (cached.error().code != ErrorCode::not_found)
      PAGODA_WARN("the packed weights are not used but made anew: {}", cached.error().message);
  }
  PAGODA_TRY(AlignedBuffer buffer, pack(kernels, pool, progress, max_bytes));
  if (!cache_path.empty()) write_cache(pool, cache_path, buffer);
  if (progress.report != nullptr) progress.report(progress.context, 1.0);
  return buffer;
}

Result<AlignedBuffer> WeightPlan::pack(const LinearKernels& kernels, ThreadPool& pool,
                                       const WorkProgress& progress, uint64_t max_bytes) {
  for (;;) {
    PAGODA_TRY(AlignedBuffer buffer, allocate(max_bytes));
    const auto misfits = pack_weights(weights_, kernels, pool.num_threads(), progress, buffer.bytes());
    if (!misfits) return fail(misfits.error().code, "{}: {}", weights_.file->path(), misfits.error().message);
    if (misfits->empty()) return buffer;
    for (const size_t index : *misfits) weights_.matrices[index].packing = Packing::plain;
    PAGODA_INFO("{}: {} of {} matrices have too many exponents for 12.2 bits a weight; packing again",
                weights_.file->path(), misfits->size(), weights_.matrices.size());
  }
}

}  // namespace pagoda
