// Sizes and packing; the arithmetic is in isa/.
#include "kernels/linear.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "kernels/isa/linear_layout.h"
#include "kernels/pack_bf16.h"

namespace pagoda {

namespace {

constexpr size_t kRows = kRowsPerGroup;

size_t round_up(size_t value, size_t unit) {
  return (value + unit - 1) / unit * unit;
}

// In runs of k, so that the rows' strided stores stay in the first cache.
template <size_t kBytes>
void pack_plain(std::span<const std::byte* const, 16> rows, int64_t num_cols, std::byte* out) {
  constexpr size_t kRun = 64;
  const auto end = static_cast<size_t>(num_cols);
  for (size_t begin = 0; begin < end; begin += kRun) {
    for (size_t r = 0; r < kRows; ++r) {
      const std::byte* row = rows[r];
      std::byte* lane = out + r * kBytes;
      const size_t run_end = std::min(begin + kRun, end);
      if (row == nullptr)
        for (size_t k = begin; k < run_end; ++k) std::memset(lane + k * kRows * kBytes, 0, kBytes);
      else
        for (size_t k = begin; k < run_end; ++k)
          std::memcpy(lane + k * kRows * kBytes, row + k * kBytes, kBytes);
    }
  }
}

size_t packed_bytes_without_padding(DType dtype, Packing packing, int64_t num_cols) {
  if (dtype == DType::bf16) {
    if (packing == Packing::palette) return static_cast<size_t>(palette_layout(num_cols).bytes);
    return static_cast<size_t>((num_cols + 1) / 2 * kVectorBytes);
  }
  if (is_float(dtype)) return kRows * info(dtype).block_bytes * static_cast<size_t>(num_cols);
  if (packing == Packing::outline) {
    const PackedFormat format = outline_format(dtype);
    return static_cast<size_t>(errors_offset(format, num_cols / format.block_length) + kErrorsBytes);
  }
  const PackedFormat format = packed_format(dtype);
  return static_cast<size_t>(num_cols / format.block_length) *
         static_cast<size_t>(block_layout(format).bytes);
}

// The square of the length of a block of int8 activations.
double squared_length(std::span<const int8_t> q, float scale) {
  int32_t squares = 0;
  for (const int8_t a : q) squares += a * a;
  return static_cast<double>(squares) * scale * scale;
}

}  // namespace

ActivationFormat PackedWeight::activation_format() const {
  if (dtype == DType::bf16 && float_activations == FloatActivations::bf16) return ActivationFormat::bf16;
  if (is_float(dtype)) return ActivationFormat::f32;
  return packed_format(dtype).block_length == 256 ? ActivationFormat::q8_256 : ActivationFormat::q8_32;
}

size_t PackedWeight::group_bytes() const {
  return packed_group_bytes(dtype, packing, num_cols);
}

size_t PackedWeight::details_bytes() const {
  return packed_details_bytes(dtype, packing, num_cols);
}

Packing smallest_packing(DType dtype, int64_t num_cols) {
  if (dtype != DType::bf16 || num_cols > kMaxPaletteCols) return Packing::plain;
  const auto bytes_of_row = [&](Packing packing) {
    return packed_group_bytes(dtype, packing, num_cols) / static_cast<size_t>(rows_per_group(packing));
  };
  return bytes_of_row(Packing::palette) < bytes_of_row(Packing::plain) ? Packing::palette : Packing::plain;
}

bool has_outline(DType dtype, int64_t num_cols) {
  return (dtype == DType::q8_0 || dtype == DType::q6_k) && num_cols <= kMaxOutlineCols;
}

size_t packed_group_bytes(DType dtype, Packing packing, int64_t num_cols) {
  PAGODA_CHECK(num_cols > 0 && num_cols % info(dtype).block_len == 0, "{} columns of {}", num_cols,
               to_string(dtype));
  PAGODA_CHECK(packing != Packing::palette || dtype == DType::bf16, "a palette for {}", to_string(dtype));
  PAGODA_CHECK(packing != Packing::outline || has_outline(dtype, num_cols), "an outline for {} of {}",
               num_cols, to_string(dtype));
  return round_up(packed_bytes_without_padding(dtype, packing, num_cols), 64);
}

size_t packed_details_bytes(DType dtype, Packing packing, int64_t num_cols) {
  if (packing != Packing::outline) return 0;
  const PackedFormat format = outline_format(dtype);
  return static_cast<size_t>(num_cols / format.block_length) *
         static_cast<size_t>(block_details_bytes(format));
}

bool pack_group(const LinearKernels& kernels, DType dtype, Packing packing,
                std::span<const std::byte* const> rows, int64_t num_cols, std::byte* out,
                std::byte* details) {
  const auto num_blocks = [&] { return num_cols / static_cast<int64_t>(info(dtype).block_len); };
  const size_t padded = packed_group_bytes(dtype, packing, num_cols);
  PAGODA_CHECK(std::cmp_equal(rows.size(), rows_per_group(packing)), "{} rows", rows.size());
  if (packing == Packing::palette) {
    if (!pack_palette(rows.first<kPaletteParts * kRows>(), num_cols, out)) return false;
  } else if (dtype == DType::bf16) {
    pack_pairs_plainly(rows.first<kRows>(), num_cols, out);
  } else if (dtype == DType::f32) {
    pack_plain<4>(rows.first<kRows>(), num_cols, out);
  } else if (dtype == DType::f16) {
    pack_plain<2>(rows.first<kRows>(), num_cols, out);
  } else if (packing == Packing::outline) {
    kernels.pack_outline(dtype, rows.data(), num_blocks(), out, details);
  } else {
    kernels.pack_blocks(dtype, rows.data(), num_blocks(), out);
  }
  const size_t used = packed_bytes_without_padding(dtype, packing, num_cols);
  std::memset(out + used, 0, padded - used);
  return true;
}

size_t activation_row_bytes(ActivationFormat format, int64_t num_cols) {
  const auto cols = static_cast<size_t>(num_cols);
  const auto bytes = [&]() -> size_t {
    switch (format) {
      case ActivationFormat::f32:
        return cols * sizeof(float);
      case ActivationFormat::bf16:
        return cols * sizeof(uint16_t);
      case ActivationFormat::q8_32:
        return cols / 32 * sizeof(Activation32);
      case ActivationFormat::q8_256:
        return cols / 256 * sizeof(Activation256);
    }
    return 0;
  }();
  // An odd number of cache lines: rows that a tile reads side by side never fall into the same cache sets.
  return round_up(bytes, 64) | 64;
}

float activation_length(ActivationFormat format, const std::byte* row, int64_t num_cols) {
  PAGODA_CHECK(format == ActivationFormat::q8_32 || format == ActivationFormat::q8_256,
               "activations that are not quantised");
  double squares = 0;
  if (format == ActivationFormat::q8_32) {
    const std::span blocks(reinterpret_cast<const Activation32*>(row), static_cast<size_t>(num_cols / 32));
    for (const Activation32& block : blocks) squares += squared_length(block.q, block.scale);
  } else {
    const std::span blocks(reinterpret_cast<const Activation256*>(row), static_cast<size_t>(num_cols / 256));
    for (const Activation256& block : blocks)
      for (const Activation256::Run& run : block.runs) squares += squared_length(run.q, block.scale);
  }
  // The factor is more than what all roundings here take away.
  return static_cast<float>(std::sqrt(squares) * (1 + 1e-6));
}

}  // namespace pagoda
