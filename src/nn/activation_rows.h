// The input rows of linear layers, in each format that some layer reads: quantised once, shared by all that
// need it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "kernels/kernels.h"
#include "weights/decoder_weights.h"

namespace pagoda {

class FormatSet {
 public:
  static constexpr std::array kAll = {ActivationFormat::f32, ActivationFormat::bf16, ActivationFormat::q8_32,
                                      ActivationFormat::q8_256};

  void add(const LinearWeight& linear) {
    if (linear.exists()) mask_ |= bit(linear.matrix.activation_format());
  }
  void add(FormatSet other) { mask_ |= other.mask_; }
  bool has(ActivationFormat format) const { return (mask_ & bit(format)) != 0; }

 private:
  static unsigned bit(ActivationFormat format) { return 1u << static_cast<unsigned>(format); }
  unsigned mask_ = 0;
};

class ActivationRows {
 public:
  // Room for max_rows rows of max_cols columns in the formats of the set, from a Workspace or WorkspaceSizer.
  template <class Source>
  static ActivationRows take(Source& source, FormatSet formats, int64_t max_rows, int64_t max_cols) {
    ActivationRows rows;
    for (const ActivationFormat format : FormatSet::kAll) {
      if (!formats.has(format)) continue;
      // Columns are whole blocks for some layers only, and padding does not grow steadily: take the next
      // block's end.
      const int64_t cols = (max_cols + 255) / 256 * 256;
      const size_t row_bytes = activation_row_bytes(format, cols) + 64;
      rows.memory_[static_cast<size_t>(format)] =
          source.template take<std::byte>(static_cast<size_t>(max_rows) * row_bytes);
    }
    return rows;
  }

  // Rows of the current input: activation_row_bytes(format, num_cols) apart.
  std::byte* data(ActivationFormat format) const { return memory_[static_cast<size_t>(format)].data(); }

  // Writes row i, i in [0, num_rows), from produce(i, worker): a pointer to num_cols floats, which may be
  // scratch of that worker and is read at once.
  template <class Produce>
  void quantize(ThreadPool& pool, const Kernels& kernels, FormatSet formats, int64_t num_rows,
                int64_t num_cols, Produce&& produce) const {
    pool.parallel_for(
        static_cast<size_t>(num_rows), row_grain(num_cols), [&](size_t begin, size_t end, int worker) {
          for (size_t row = begin; row < end; ++row) {
            const float* x = produce(static_cast<int64_t>(row), worker);
            for (const ActivationFormat format : FormatSet::kAll) {
              if (!formats.has(format)) continue;
              kernels.linear.quantize(format, x, num_cols,
                                      data(format) + row * activation_row_bytes(format, num_cols));
            }
          }
        });
  }

  // Rows of elementwise work that are worth waking another thread for.
  static size_t row_grain(int64_t num_cols) {
    return static_cast<size_t>(std::max<int64_t>(1, kElementsPerChunk / std::max<int64_t>(num_cols, 1)));
  }

 private:
  static constexpr int64_t kElementsPerChunk = 4096;
  std::array<std::span<std::byte>, FormatSet::kAll.size()> memory_;
};

}  // namespace pagoda
