// The dispatch table: every kernel of one ISA. Chosen once at start and passed by reference; there is no
// global table.
#pragma once

#include "kernels/isa.h"
#include "kernels/linear.h"
#include "kernels/ops.h"
#include "kernels/prefetch.h"

namespace pagoda {

struct Kernels {
  Isa isa = Isa::scalar;
  LinearKernels linear;
  OpKernels ops;
  Prefetch prefetch;  // as serves this machine best
};

// The table of an ISA that the machine has (available_isas); lives for ever.
const Kernels& kernels_for(Isa isa);

}  // namespace pagoda
