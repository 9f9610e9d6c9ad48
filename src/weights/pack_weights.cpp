#include "weights/pack_weights.h"

#include <algorithm>
#include <cstring>

#include "tensor/dequantize.h"

namespace pagoda {

namespace {

// What a thread takes at once. A huge page: where neighbouring pieces were much smaller, two threads would
// touch the same page for the first time at once, and both clear it.
constexpr size_t kPieceBytes = size_t{2} << 20;
// How many pieces are on their way from the disk ahead of those that are packed.
constexpr size_t kPiecesAhead = 16;
// What is copied from the file and packed at once, so that the copy is still in a cache of the core.
constexpr size_t kCopyBytes = size_t{256} << 10;

// Part of a matrix and where it goes.
struct Piece {
  const PlannedMatrix* matrix = nullptr;
  size_t begin = 0;  // groups of the matrix
  size_t end = 0;
  std::byte* out = nullptr;
  std::byte* details = nullptr;
  bool fits = true;  // known once it is packed

  bool is_by_columns() const { return matrix->storage == MatrixStorage::columns; }
  // At most num_bytes from group `at` on, but at least that group.
  Piece part(size_t at, size_t num_bytes) const {
    const size_t group_bytes = matrix->group_bytes();
    const size_t num_groups = std::max<size_t>(num_bytes / group_bytes, 1);
    return {matrix, at, std::min(at + num_groups, end), out + (at - begin) * group_bytes,
            details + (at - begin) * matrix->details_bytes()};
  }
};

// The stored rows of a piece, and what lies between them; all of a matrix that is stored by columns.
std::span<const std::byte> source_of(const Piece& piece) {
  const PlannedMatrix& matrix = *piece.matrix;
  const TensorView& view = matrix.tensor->view;
  if (piece.is_by_columns()) return view.data;
  const RowRange rows = matrix.rows.stored_rows(
      static_cast<int64_t>(piece.begin) * matrix.rows_per_group(),
      std::min(static_cast<int64_t>(piece.end) * matrix.rows_per_group(), matrix.num_rows));
  const size_t bytes = row_bytes(view.dtype, static_cast<size_t>(matrix.num_cols));
  return view.data.subspan(static_cast<size_t>(rows.begin) * bytes,
                           static_cast<size_t>(rows.end - rows.begin) * bytes);
}

std::vector<Piece> cut(const PlannedWeights& weights, std::byte* out) {
  std::vector<Piece> pieces;
  for (const PlannedMatrix& matrix : weights.matrices) {
    const Piece whole = {&matrix, 0, matrix.num_groups(), out + matrix.offset, out + matrix.details_offset};
    for (size_t begin = 0; begin < whole.end; begin = pieces.back().end)
      pieces.push_back(whole.part(begin, kPieceBytes));
  }
  return pieces;
}

// Gathers columns of a matrix stored by columns as rows of `num_cols` elements.
void gather_columns(const TensorView& view, std::span<const int64_t> columns, int64_t num_cols, size_t bytes,
                    std::byte* out) {
  for (int64_t k = 0; k < num_cols; ++k) {
    const std::byte* row = view.row(k).data();
    for (size_t r = 0; r < columns.size(); ++r) {
      if (columns[r] < 0) continue;
      std::memcpy(out + (r * static_cast<size_t>(num_cols) + static_cast<size_t>(k)) * bytes,
                  row + static_cast<size_t>(columns[r]) * bytes, bytes);
    }
  }
}

// `source` is source_of(piece) or a copy of it. False if a group does not fit.
bool pack_groups(const LinearKernels& kernels, const Piece& piece, const std::byte* source) {
  const PlannedMatrix& matrix = *piece.matrix;
  const TensorView& view = matrix.tensor->view;
  const size_t stored_bytes = row_bytes(view.dtype, static_cast<size_t>(matrix.num_cols));
  const size_t group_bytes = matrix.group_bytes();
  const std::byte* first_row = source - (source_of(piece).data() - view.data.data());
  const auto group_rows = static_cast<size_t>(matrix.rows_per_group());
  std::vector<std::byte> gathered(piece.is_by_columns() ? group_rows * stored_bytes : 0);
  std::vector<int64_t> indices(group_rows);
  std::vector<const std::byte*> rows(group_rows);
  for (size_t group = piece.begin; group < piece.end; ++group) {
    for (size_t r = 0; r < group_rows; ++r) {
      const auto row = static_cast<int64_t>(group * group_rows + r);
      indices[r] = row < matrix.num_rows ? matrix.rows.stored_row(row) : -1;
      rows[r] = indices[r] < 0          ? nullptr
                : piece.is_by_columns() ? gathered.data() + r * stored_bytes
                                        : first_row + static_cast<size_t>(indices[r]) * stored_bytes;
    }
    if (piece.is_by_columns())
      gather_columns(view, indices, matrix.num_cols, info(view.dtype).block_bytes, gathered.data());
    std::byte* out = piece.out + (group - piece.begin) * group_bytes;
    std::byte* details = piece.details + (group - piece.begin) * matrix.details_bytes();
    if (!pack_group(kernels, view.dtype, matrix.packing, rows, matrix.num_cols, out, details)) return false;
  }
  return true;
}

void convert_vector(const PlannedVector& vector, float* out) {
  const TensorView& view = vector.tensor->view;
  std::vector<float> stored(static_cast<size_t>(view.shape.num_elements()));
  dequantize_row(view.dtype, view.data, stored);
  for (int64_t i = 0; i < vector.size; ++i)
    out[i] = stored[static_cast<size_t>(vector.elements.stored_row(i))] + vector.addend;
}

// Matrices are read from the file: a copy that stays in a core's cache costs half of what it costs to have
// pages of 4 KiB join the process and leave it. Vectors, and matrices that are stored by columns, are read
// through the mapping.
class Packer {
 public:
  Packer(const PlannedWeights& weights, const LinearKernels& kernels, std::byte* out)
      : weights_(weights), kernels_(kernels), pieces_(cut(weights, out)) {}

  Status pack_matrices(int num_threads, const WorkProgress& progress) {
    for (size_t i = 0; i < std::min(kPiecesAhead, pieces_.size()); ++i) prefetch(pieces_[i]);
    copies_.resize(static_cast<size_t>(num_threads));
    return divide_work(pieces_.size(), num_threads, progress, [&](size_t i, int worker) {
      if (i + kPiecesAhead < pieces_.size()) prefetch(pieces_[i + kPiecesAhead]);
      return pack(pieces_[i], copies_[static_cast<size_t>(worker)]);
    });
  }
  void convert_vectors(std::byte* out) const {
    for (const PlannedVector& vector : weights_.vectors) {
      convert_vector(vector, reinterpret_cast<float*>(out + vector.offset));
      release(*vector.tensor);
    }
  }
  void prefetch_vectors() const {
    for (const PlannedVector& vector : weights_.vectors)
      if (const MappedFile* file = mapping(*vector.tensor)) file->prefetch(vector.tensor->view.data);
  }
  std::vector<size_t> misfits() const {
    std::vector<size_t> found;
    for (const Piece& piece : pieces_) {
      const auto index = static_cast<size_t>(piece.matrix - weights_.matrices.data());
      if (!piece.fits && (found.empty() || found.back() != index)) found.push_back(index);
    }
    return found;
  }
  void release_columns() const {
    for (const PlannedMatrix& matrix : weights_.matrices)
      if (matrix.storage == MatrixStorage::columns) release(*matrix.tensor);
  }

 private:
  const MappedFile* mapping(const NamedTensor& tensor) const {
    return weights_.file->mapping(tensor.file_index);
  }
  void prefetch(const Piece& piece) const {
    const MappedFile* file = mapping(*piece.matrix->tensor);
    if (file != nullptr && (piece.begin == 0 || !piece.is_by_columns())) file->prefetch(source_of(piece));
  }
  void release(const NamedTensor& tensor) const {
    if (const MappedFile* file = mapping(tensor)) file->release(tensor.view.data);
  }
  Status pack(Piece& piece, std::vector<std::byte>& copy) const {
    const MappedFile* file = mapping(*piece.matrix->tensor);
    if (file == nullptr || piece.is_by_columns()) {
      piece.fits = pack_groups(kernels_, piece, source_of(piece).data());
      return {};
    }
    for (size_t begin = piece.begin; begin < piece.end && piece.fits;) {
      const Piece part = piece.part(begin, kCopyBytes);
      const std::span<const std::byte> source = source_of(part);
      if (copy.size() < source.size()) copy.resize(source.size());
      PAGODA_TRY_STATUS(file->read(source, std::span(copy).first(source.size())));
      piece.fits = pack_groups(kernels_, part, copy.data());
      begin = part.end;
    }
    return {};
  }

  const PlannedWeights& weights_;
  const LinearKernels& kernels_;
  std::vector<Piece> pieces_;
  std::vector<std::vector<std::byte>> copies_;  // [worker]
};

}  // namespace

Result<std::vector<size_t>> pack_weights(const PlannedWeights& weights, const LinearKernels& kernels,
                                         int num_threads, const WorkProgress& progress,
                                         std::span<std::byte> out) {
  Packer packer(weights, kernels, out.data());
  packer.prefetch_vectors();
  PAGODA_TRY_STATUS(packer.pack_matrices(num_threads, progress));
  packer.convert_vectors(out.data());
  packer.release_columns();
  return packer.misfits();
}

}  // namespace pagoda
