#include "weights/pack_weights.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "tensor/dequantize.h"

namespace pagoda {

namespace {

// What one thread packs at once, and what is read ahead while another such part is packed.
constexpr size_t kPieceBytes = size_t{1} << 20;
constexpr size_t kWindowBytes = size_t{32} << 20;

// Part of a matrix: its source and where it goes.
struct Piece {
  const PlannedMatrix* matrix = nullptr;
  size_t begin = 0;  // groups of the matrix
  size_t end = 0;
  std::span<const std::byte> source;  // of a matrix stored by columns: all of it
  std::byte* out = nullptr;
  size_t out_bytes = 0;
  bool fits = true;  // known once it is packed
};

// The stored rows of groups [begin, end), and what lies between them.
std::span<const std::byte> source_of(const PlannedMatrix& matrix, size_t begin, size_t end) {
  const TensorView& view = matrix.tensor->view;
  if (matrix.storage == MatrixStorage::columns) return view.data;
  int64_t first = INT64_MAX;
  int64_t last = 0;
  const int64_t end_row = std::min(static_cast<int64_t>(end) * kRowsPerGroup, matrix.num_rows);
  for (int64_t row = static_cast<int64_t>(begin) * kRowsPerGroup; row < end_row; ++row) {
    first = std::min(first, matrix.rows.stored_row(row));
    last = std::max(last, matrix.rows.stored_row(row));
  }
  const auto* data = view.row(first).data();
  return {data, view.row(last).data() + view.row(last).size()};
}

std::vector<Piece> cut(const PlannedWeights& weights, std::byte* out) {
  std::vector<Piece> pieces;
  for (const PlannedMatrix& matrix : weights.matrices) {
    const size_t group_bytes = matrix.group_bytes();
    const size_t step = std::max<size_t>(kPieceBytes / group_bytes, 1);
    for (size_t begin = 0; begin < matrix.num_groups(); begin += step) {
      const size_t end = std::min(begin + step, matrix.num_groups());
      pieces.push_back({.matrix = &matrix,
                        .begin = begin,
                        .end = end,
                        .source = source_of(matrix, begin, end),
                        .out = out + matrix.offset + begin * group_bytes,
                        .out_bytes = (end - begin) * group_bytes});
    }
  }
  return pieces;
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

// False if a group does not fit.
bool pack_groups(const Piece& piece) {
  const PlannedMatrix& matrix = *piece.matrix;
  const TensorView& view = matrix.tensor->view;
  const bool by_columns = matrix.storage == MatrixStorage::columns;
  const size_t gathered_row_bytes =
      by_columns ? row_bytes(view.dtype, static_cast<size_t>(matrix.num_cols)) : 0;
  std::vector<std::byte> gathered(16 * gathered_row_bytes);
  for (size_t group = piece.begin; group < piece.end; ++group) {
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
    std::byte* out = piece.out + (group - piece.begin) * matrix.group_bytes();
    if (!pack_group(view.dtype, matrix.packing, rows, matrix.num_cols, out)) return false;
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

class Packer {
 public:
  Packer(const ModelFile& file, ThreadPool& pool) : file_(file), pool_(pool) {}

  void prefetch(const NamedTensor& tensor, std::span<const std::byte> part) const {
    if (const MappedFile* mapping = file_.mapping(tensor.file_index)) mapping->prefetch(part);
  }
  void prefetch(std::span<const Piece> pieces) const {
    for (const Piece& piece : pieces)
      if (piece.begin == 0 || !is_by_columns(piece)) prefetch(*piece.matrix->tensor, piece.source);
  }
  void pack(std::span<Piece> pieces) const {
    pool_.parallel_for(pieces.size(), 1, [&](size_t begin, size_t end, int) {
      for (Piece& piece : pieces.subspan(begin, end - begin)) pack(piece);
    });
  }
  void release(const NamedTensor& tensor, std::span<const std::byte> part) const {
    if (const MappedFile* mapping = file_.mapping(tensor.file_index)) mapping->release(part);
  }

 private:
  static bool is_by_columns(const Piece& piece) { return piece.matrix->storage == MatrixStorage::columns; }
  void pack(Piece& piece) const {
    const MappedFile* mapping =
        is_by_columns(piece) ? nullptr : file_.mapping(piece.matrix->tensor->file_index);
    if (mapping != nullptr) mapping->populate(piece.source);
    piece.fits = pack_groups(piece);
    if (mapping != nullptr) mapping->release(piece.source);
  }

  const ModelFile& file_;
  ThreadPool& pool_;
};

// The first pieces that fill a window.
std::span<Piece> next_window(std::span<Piece> pieces) {
  size_t num_bytes = 0;
  size_t count = 0;
  while (count < pieces.size() && num_bytes < kWindowBytes) num_bytes += pieces[count++].out_bytes;
  return pieces.first(count);
}

}  // namespace

std::vector<size_t> pack_weights(const PlannedWeights& weights, ThreadPool& pool,
                                 const PackProgress& progress, std::span<std::byte> out) {
  std::vector<Piece> all = cut(weights, out.data());
  const Packer packer(*weights.file, pool);
  for (const PlannedVector& vector : weights.vectors)
    packer.prefetch(*vector.tensor, vector.tensor->view.data);
  std::span<Piece> left = all;
  std::span<Piece> window = next_window(left);
  packer.prefetch(window);
  for (uint64_t done = 0; !window.empty();) {
    left = left.subspan(window.size());
    const std::span<Piece> next = next_window(left);
    packer.prefetch(next);
    packer.pack(window);
    for (const Piece& piece : window) done += piece.out_bytes;
    if (progress.report != nullptr)
      progress.report(progress.context, static_cast<double>(done) / static_cast<double>(weights.num_bytes));
    window = next;
  }
  for (const PlannedVector& vector : weights.vectors)
    convert_vector(vector, reinterpret_cast<float*>(out.data() + vector.offset));
  for (const NamedTensor& tensor : weights.file->tensors()) packer.release(tensor, tensor.view.data);
  std::vector<size_t> misfits;
  for (const Piece& piece : all) {
    const auto index = static_cast<size_t>(piece.matrix - weights.matrices.data());
    if (!piece.fits && (misfits.empty() || misfits.back() != index)) misfits.push_back(index);
  }
  return misfits;
}

}  // namespace pagoda
