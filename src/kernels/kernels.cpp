#include "kernels/kernels.h"

#include "base/check.h"
#include "kernels/isa/tables.h"

namespace pagoda {

const Kernels& kernels_for(Isa isa) {
  static const Kernels scalar = {Isa::scalar, isa_scalar::linear_kernels(), isa_scalar::op_kernels()};
#ifdef PAGODA_X86_KERNELS
  static const Kernels avx2 = {Isa::avx2, isa_avx2::linear_kernels(), isa_avx2::op_kernels()};
  static const Kernels avx512 = {Isa::avx512, isa_avx512::linear_kernels(), isa_avx512::op_kernels()};
  if (isa == Isa::avx2) return avx2;
  if (isa == Isa::avx512) return avx512;
#endif
  PAGODA_CHECK(isa == Isa::scalar, "this build has no {} kernels", to_string(isa));
  return scalar;
}

}  // namespace pagoda
