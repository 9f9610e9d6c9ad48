#include "kernels/isa/tables.h"
namespace pagoda::isa_avx2 { LinearKernels linear_kernels() { return isa_scalar::linear_kernels(); } }
