#include "weights/decoder_weights.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "tensor/dequantize.h"
#include "weights/unpack_row.h"

namespace pagoda {

void RowTable::read_row(int64_t row, std::span<float> out) const {
  PAGODA_CHECK(row >= 0 && row < num_rows, "row {} of {}", row, num_rows);
  if (stored == nullptr) return unpack_row(packed, row, out);
  const size_t bytes = row_bytes(dtype, out.size());
  read_stored({stored + static_cast<size_t>(row) * bytes, bytes}, out);
}

// A row at a place of its own costs less as a copy than as a page fault, which maps 16 pages of the file.
void RowTable::read_stored(std::span<const std::byte> row, std::span<float> out) const {
  if (file == nullptr) return dequantize_row(dtype, row, out);
  std::array<std::byte, 4096> piece;
  const DTypeInfo& type = info(dtype);
  const size_t num_blocks = piece.size() / type.block_bytes;
  while (!row.empty()) {
    const std::span copy = std::span(piece).first(std::min(num_blocks * type.block_bytes, row.size()));
    const std::span values = out.first(copy.size() / type.block_bytes * type.block_len);
    const Status status = file->read(row.first(copy.size()), copy);
    PAGODA_CHECK(status, "embeddings: {}", status.error().message);
    dequantize_row(dtype, copy, values);
    row = row.subspan(copy.size());
    out = out.subspan(values.size());
  }
}

}  // namespace pagoda
