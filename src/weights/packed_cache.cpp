#include "weights/packed_cache.h"

#include <filesystem>
#include <iterator>

#include <fmt/format.h>

#include "io/model_source.h"

namespace pagoda {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kExtension = ".packed";

using Text = std::back_insert_iterator<std::string>;

void describe(const NamedTensor& tensor, Text out) {
  fmt::format_to(out, "{} {} {} file {} at {}", tensor.name, to_string(tensor.view.dtype),
                 tensor.view.shape.to_string(), tensor.file_index, tensor.file_offset);
}

void describe(const RowSelection& rows, Text out) {
  fmt::format_to(out, " rows {} {} {} {}", rows.first_row, rows.num_stored_rows, rows.head_dim,
                 rows.rotary_dim);
}

}  // namespace

std::string packed_cache_path(const ModelFile& file, const std::string& folder) {
  std::error_code error;
  fs::path model = fs::absolute(file.path(), error).lexically_normal();
  if (!model.has_filename()) model = model.parent_path();
  const bool is_folder = file.format() == ModelFormat::hugging_face;
  if (folder.empty()) return (is_folder ? model / "model" : model).string().append(kExtension);
  const std::string text = model.string();
  const Digest path = digest(std::as_bytes(std::span(text)));
  return (fs::path(folder) / fmt::format("{}-{:016x}{}", model.filename().string(), path.low, kExtension))
      .string();
}

BlockFileId packed_cache_id(const PlannedWeights& weights) {
  std::string text = describe_source(*weights.file);
  const Text out(text);
  for (const PlannedMatrix& matrix : weights.matrices) {
    describe(*matrix.tensor, out);
    describe(matrix.rows, out);
    fmt::format_to(out, " matrix {} {} {}{}\n", matrix.num_rows, matrix.num_cols,
                   static_cast<int>(matrix.storage), matrix.packing == Packing::outline ? " outline" : "");
  }
  for (const PlannedVector& vector : weights.vectors) {
    describe(*vector.tensor, out);
    describe(vector.elements, out);
    fmt::format_to(out, " vector {} {}\n", vector.size, vector.addend);
  }
  return {kPackedLayoutVersion, digest(std::as_bytes(std::span(text)))};
}

std::vector<std::byte> describe_packings(const PlannedWeights& weights) {
  std::vector<std::byte> note((weights.matrices.size() + 7) / 8);
  for (size_t i = 0; i < weights.matrices.size(); ++i)
    if (weights.matrices[i].packing == Packing::palette) note[i / 8] |= std::byte{1} << (i % 8);
  return note;
}

Status apply_packings(const std::string& path, std::span<const std::byte> note, PlannedWeights& weights) {
  if (note.size() != (weights.matrices.size() + 7) / 8)
    return fail(ErrorCode::corrupt, "{}: is of another number of matrices", path);
  for (size_t i = 0; i < weights.matrices.size(); ++i) {
    PlannedMatrix& matrix = weights.matrices[i];
    const bool has_palette = (note[i / 8] >> (i % 8) & std::byte{1}) != std::byte{0};
    if (has_palette && matrix.tensor->view.dtype != DType::bf16)
      return fail(ErrorCode::corrupt, "{}: has a palette for '{}'", path, matrix.tensor->name);
    if (matrix.packing != Packing::outline) matrix.packing = has_palette ? Packing::palette : Packing::plain;
  }
  return {};
}

Status check_unchanged(const ModelFile& file) {
  for (size_t i = 0; i < file.files().size(); ++i) {
    const std::string& path = file.files()[i];
    const MappedFile* mapping = file.mapping(static_cast<int>(i));
    if (mapping == nullptr) continue;
    PAGODA_TRY(const FileStamp now, stamp_file(path));
    if (now != mapping->stamp()) return fail(ErrorCode::io, "{}: was changed while it was read", path);
  }
  return {};
}

}  // namespace pagoda
