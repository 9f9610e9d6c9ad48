// What each ISA folder entry provides; joined into one table by kernels.cpp.
#pragma once

#include "kernels/linear.h"
#include "kernels/ops.h"

namespace pagoda::isa_scalar {
LinearKernels linear_kernels();
void quantize(ActivationFormat format, const float* x, int64_t num_cols, std::byte* out) noexcept;
void pack_blocks(DType dtype, const std::byte* const* rows, int64_t num_blocks, std::byte* out) noexcept;
void pack_outline(DType dtype, const std::byte* const* rows, int64_t num_blocks, std::byte* outline,
                  std::byte* details) noexcept;
void join_outline(DType dtype, const std::byte* outline, const std::byte* details, int64_t num_blocks,
                  std::byte* out) noexcept;
OpKernels op_kernels();
}  // namespace pagoda::isa_scalar

namespace pagoda::isa_avx2 {
LinearKernels linear_kernels();
void quantize(ActivationFormat format, const float* x, int64_t num_cols, std::byte* out) noexcept;
void pack_blocks(DType dtype, const std::byte* const* rows, int64_t num_blocks, std::byte* out) noexcept;
void pack_outline(DType dtype, const std::byte* const* rows, int64_t num_blocks, std::byte* outline,
                  std::byte* details) noexcept;
void join_outline(DType dtype, const std::byte* outline, const std::byte* details, int64_t num_blocks,
                  std::byte* out) noexcept;
OpKernels op_kernels();
}  // namespace pagoda::isa_avx2

// Whatever AVX-VNNI has no part in is isa_avx2's.
namespace pagoda::isa_avxvnni {
LinearKernels linear_kernels();
OpKernels op_kernels();
}  // namespace pagoda::isa_avxvnni

namespace pagoda::isa_avx512 {
LinearKernels linear_kernels();
// LinearKernels::linear for more tokens than a tile has.
void linear_of_many(const LinearArgs& args, int64_t group_begin, int64_t group_end) noexcept;
void quantize(ActivationFormat format, const float* x, int64_t num_cols, std::byte* out) noexcept;
void pack_blocks(DType dtype, const std::byte* const* rows, int64_t num_blocks, std::byte* out) noexcept;
void pack_outline(DType dtype, const std::byte* const* rows, int64_t num_blocks, std::byte* outline,
                  std::byte* details) noexcept;
void join_outline(DType dtype, const std::byte* outline, const std::byte* details, int64_t num_blocks,
                  std::byte* out) noexcept;
OpKernels op_kernels();
}  // namespace pagoda::isa_avx512

// Whatever bf16 has no part in is isa_avx512's.
namespace pagoda::isa_avx512_bf16 {
LinearKernels linear_kernels();
OpKernels op_kernels();
}  // namespace pagoda::isa_avx512_bf16

// Whatever AMX has no part in is isa_avx512_bf16's.
namespace pagoda::isa_amx {
LinearKernels linear_kernels();
}  // namespace pagoda::isa_amx
