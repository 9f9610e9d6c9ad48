#include "kernels/isa/tables.h"
namespace pagoda::isa_avx512 { LinearKernels linear_kernels() { return isa_scalar::linear_kernels(); } }
