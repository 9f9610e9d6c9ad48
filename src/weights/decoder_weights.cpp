#include "weights/decoder_weights.h"

#include "base/check.h"
#include "tensor/dequantize.h"
#include "weights/unpack_row.h"

namespace pagoda {

void RowTable::read_row(int64_t row, std::span<float> out) const {
  PAGODA_CHECK(row >= 0 && row < num_rows, "row {} of {}", row, num_rows);
  if (stored == nullptr) return unpack_row(packed, row, out);
  const size_t bytes = row_bytes(dtype, out.size());
  dequantize_row(dtype, {stored + static_cast<size_t>(row) * bytes, bytes}, out);
}

}  // namespace pagoda
