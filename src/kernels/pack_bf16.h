// Packs groups of bf16 weights; part of pack_group().
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/linear.h"

namespace pagoda {

// Writes all of a group but the padding at its end. False if its exponents do not fit a palette.
bool pack_bf16(Packing packing, std::span<const std::byte* const, 16> rows, int64_t num_cols, std::byte* out);

}  // namespace pagoda
