// Packs groups of bf16 weights; part of pack_group().
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/linear.h"

namespace pagoda {

// Write all of a group but the padding at its end. Null rows are zeros.
void pack_pairs_plainly(std::span<const std::byte* const, kRowsPerGroup> rows, int64_t num_cols,
                        std::byte* out);
// False if there is no room for all weights whose exponent is not in their palette.
bool pack_palette(std::span<const std::byte* const, 2 * kRowsPerGroup> rows, int64_t num_cols,
                  std::byte* out);

}  // namespace pagoda
