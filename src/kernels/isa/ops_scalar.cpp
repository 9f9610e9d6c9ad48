#include "kernels/isa/ops_body.h"
#include "kernels/isa/tables.h"
#include "kernels/isa/vec_scalar.h"

namespace pagoda::isa_scalar {

OpKernels op_kernels() {
  return Ops<F32x16, I32x16>::table();
}

}  // namespace pagoda::isa_scalar
