// Linear layers: y[m][n] = sum over k of x[m][k] * w[n][k], with w packed for the machine.
//
// CANONICAL ARITHMETIC. The value of one output is defined by kernels/isa/linear_scalar.cpp, from the stored
// weights and the (quantised) activations alone, k ascending; every ISA, every number of activation rows,
// chunk and thread count gives the same bits. Integers inside a quantisation block are exact; over the blocks
// runs one chain of fused multiply-adds in f32. Per weight format (d, m, sc, mn, dmin as in GGUF; a, s = int8
// activations and their scale):
//
//   f32 f16 bf16          for each k:    acc = fma(f32(w[k]), x[k], acc)
//   bf16 times bf16       for each pair: acc = fma(w[k+1], x[k+1], acc), then fma(w[k], x[k], acc), subnormal
//                                        numbers counting as zero, which is what vdpbf16ps does; k even
//   An odd number of columns of bf16 is filled up with a zero.
//   q4_0 q5_0 q8_0 iq4_nl for each 32:   acc = fma(f32(sum q*a), d*s, acc)
//   q4_1 q5_1             for each 32:   acc = fma(f32(sum q*a), d*s, acc), then fma(s * f32(sum a), m, acc)
//   q4_k q5_k q2_k        for each 256:  acc = fma(f32(sum sc*(sum q*a)), d*s, acc),
//                                        then fma(-f32(sum mn*(sum a)), dmin*s, acc)
//   q6_k q3_k             for each 256:  acc = fma(f32(sum sc*(sum q*a)), d*s, acc)
//
// where q is the signed or unsigned integer that the format's definition multiplies (tensor/dequantize.cpp).
// Accumulators start at 0. Then y = acc, or acc + bias, and out = y or out + y.
//
// PACKED LAYOUT "R16": groups of 16 rows interleaved, 4 consecutive k per 32-bit lane, lane = row; one group
// is one sequential run of bytes, drawn in kernels/isa/linear_layout.h (of an outline and its details: two).
// The last group is padded with zero rows. A group of bf16 weights with palettes is 32 rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/prefetch.h"
#include "tensor/dtype.h"

namespace pagoda {

inline constexpr int64_t kRowsPerGroup = 16;  // of plain packing
// Of the bytes that pack_group() makes. Packed weights outlive the process: raise it with any change of them.
inline constexpr uint32_t kPackedLayoutVersion = 5;

// What the activations must be for a weight format.
enum class ActivationFormat {
  f32,     // plain rows
  bf16,    // rows of f32 rounded to bf16
  q8_32,   // int8, one f32 scale per 32
  q8_256,  // int8, one f32 scale per 256
};

// What bf16 weights are multiplied by. bf16 rounds the activations, and takes half the time where the
// processor has a dot product of bf16.
enum class FloatActivations { f32, bf16 };

// How a group is laid out, where its format leaves a choice. None changes a weight.
enum class Packing {
  plain,    // the one layout of every format
  palette,  // bf16 only, 12.2 bits a weight: exponents are places in tables of 16
  outline,  // q8_0 and q6_k: the upper bits of the weights with their scales, the *outline*, and elsewhere
            // the lower bits, the *details*. From the outline alone every output is known up to an error that
            // has a bound (LinearKernels::outline).
};

constexpr int64_t rows_per_group(Packing packing) {
  return packing == Packing::palette ? 2 * kRowsPerGroup : kRowsPerGroup;
}

// The packing that takes the fewest bytes, if all groups fit it.
Packing smallest_packing(DType dtype, int64_t num_cols);
// Whether a matrix can have Packing::outline.
bool has_outline(DType dtype, int64_t num_cols);

// A weight matrix [num_rows, num_cols] in packed form; memory is owned by someone else and aligned to 64
// bytes.
struct PackedWeight {
  DType dtype = DType::f32;  // the format of the stored weights; with `packing` determines the packed layout
  int64_t num_rows = 0;
  int64_t num_cols = 0;
  const std::byte* data = nullptr;
  FloatActivations float_activations = FloatActivations::f32;  // counts where dtype is bf16
  Packing packing = Packing::plain;
  const std::byte* details = nullptr;  // Packing::outline only, aligned alike: `data` has the outlines

  ActivationFormat activation_format() const;
  size_t group_bytes() const;    // packed_group_bytes() of this weight
  size_t details_bytes() const;  // packed_details_bytes() of this weight
  int64_t rows_per_group() const { return pagoda::rows_per_group(packing); }
  int64_t num_groups() const { return (num_rows + rows_per_group() - 1) / rows_per_group(); }
};

// Bytes of one packed group (a multiple of 64). num_cols must be a multiple of the format's block
// length.
size_t packed_group_bytes(DType dtype, Packing packing, int64_t num_cols);
// Bytes of a group's details, likewise; 0 unless the packing is `outline`, of which packed_group_bytes() are
// those of the outline.
size_t packed_details_bytes(DType dtype, Packing packing, int64_t num_cols);

// Bytes that one row of activations takes: what its numbers and scales need, padded to an odd number of cache
// lines.
size_t activation_row_bytes(ActivationFormat format, int64_t num_cols);

// The Euclidean length of a row of int8 activations, rounded up.
float activation_length(ActivationFormat format, const std::byte* row, int64_t num_cols);

enum class Store { overwrite, add };

struct LinearArgs {
  PackedWeight weight;
  const std::byte* activations =
      nullptr;  // [num_tokens] rows of activation_row_bytes(...), written by `quantize`
  int64_t num_tokens = 0;
  const float* bias = nullptr;  // [num_rows] or null
  float* out = nullptr;         // [num_tokens][out_stride]
  int64_t out_stride = 0;       // in elements, >= num_rows
  Store store = Store::overwrite;
  Prefetch prefetch;
};

// One table per ISA. All functions are noexcept, allocate nothing and may run on several threads on disjoint
// ranges.
struct LinearKernels {
  // Writes one row of activations in `format` from x[num_cols]. bf16 is rounded to nearest even. int8, per
  // block: scale s = max|x| / 127 (f32 division), a = round-to-nearest-even(x * (127 / max|x|)) clamped to
  // +-127; a block of zeros has s = 0, a = 0. NaN or infinite input gives some finite or NaN output, never
  // undefined behaviour. Same bits on every ISA.
  void (*quantize)(ActivationFormat format, const float* x, int64_t num_cols, std::byte* out) noexcept;
  // Computes the outputs of row groups [group_begin, group_end) for all tokens.
  void (*linear)(const LinearArgs& args, int64_t group_begin, int64_t group_end) noexcept;
  // The same from the outlines alone, of a weight that has them and no bias. An output differs from that of
  // `linear` by at most the row's error times activation_length(); a group's 16 errors, f32, are the last
  // bytes of its outline.
  void (*outline)(const LinearArgs& args, int64_t group_begin, int64_t group_end) noexcept;
  // Packs num_blocks quantisation blocks of each of 16 rows; the part of pack_group() that is worth vectors.
  // `dtype` must be quantised. Same bytes on every ISA.
  void (*pack_blocks)(DType dtype, const std::byte* const* rows, int64_t num_blocks, std::byte* out) noexcept;
  // The same for Packing::outline, of whole rows, and back to the bytes of pack_blocks.
  void (*pack_outline)(DType dtype, const std::byte* const* rows, int64_t num_blocks, std::byte* outline,
                       std::byte* details) noexcept;
  void (*join_outline)(DType dtype, const std::byte* outline, const std::byte* details, int64_t num_blocks,
                       std::byte* out) noexcept;
  // With which a single token gets through bf16 weights fastest. Both are read by all.
  Packing bf16_packing = Packing::plain;
};

// Packs the rows of a group, rows_per_group(packing) of them. rows[i] points to row_bytes(dtype, num_cols)
// bytes as stored in the file (any alignment), or is null for a zero row. Any order of rows may be packed:
// permutations and splits of fused weights are free. False if the group does not fit the packing, because too
// many weights have exponents that are not in their palette: `out` then holds anything. details: where there
// are any.
[[nodiscard]] bool pack_group(const LinearKernels& kernels, DType dtype, Packing packing,
                              std::span<const std::byte* const> rows, int64_t num_cols, std::byte* out,
                              std::byte* details = nullptr);

}  // namespace pagoda
