// The dispatch table: every kernel of one ISA. Chosen once at start and passed by reference; there is no
// global table.
#pragma once

#include "kernels/isa.h"
#include "kernels/linear.h"
#include "kernels/ops.h"

namespace pagoda {

struct Kernels {
  Isa isa = Isa::scalar;
  LinearKernels linear;
  OpKernels ops;
  // How far ahead one sequential stream is fetched by instructions on this machine; 0: its processor does
  // better alone. Changes no result.
  int64_t prefetch_bytes = 0;
};

// The table of an ISA that the machine has (available_isas); lives for ever.
const Kernels& kernels_for(Isa isa);

}  // namespace pagoda
