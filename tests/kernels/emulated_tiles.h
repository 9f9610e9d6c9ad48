// The body of the AMX kernels over tile registers that plain C++ emulates.
#pragma once

#include <cstdint>

#include "kernels/linear.h"

namespace pagoda {

// What went wrong in the use of the unit, and how often it was used; counted over all calls.
struct TileUse {
  int64_t num_products = 0;
  int64_t num_errors = 0;  // use without a configuration, sizes that do not fit, a configuration left behind
};

// Runs on one thread at a time; needs AVX-512 VNNI.
LinearKernels emulated_tile_kernels();
TileUse tile_use();

}  // namespace pagoda
