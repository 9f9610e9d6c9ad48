// Fills packed memory from the tensors of a model file.
#pragma once

#include <span>
#include <vector>

#include "base/divided_work.h"
#include "base/result.h"
#include "kernels/linear.h"
#include "weights/planned_weights.h"

namespace pagoda {

// `out` is zero-filled and has weights.num_bytes; bytes that belong to nothing stay zero. The model file is
// read ahead of packing, and its pages leave the process once they are packed: what the process holds never
// exceeds `out` by much. Returns the matrices (by their place in `weights`) that do not fit the way they are
// to be packed (pack_group()): if there are any, `out` is of no use.
Result<std::vector<size_t>> pack_weights(const PlannedWeights& weights, const LinearKernels& kernels,
                                         int num_threads, const WorkProgress& progress,
                                         std::span<std::byte> out);

}  // namespace pagoda
