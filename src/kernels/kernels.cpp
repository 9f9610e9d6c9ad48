#include "kernels/kernels.h"

#include "base/check.h"
#include "base/cpu_info.h"
#include "kernels/isa/tables.h"

namespace pagoda {

namespace {

// Kernels that read one stream are at the bandwidth from 4 KiB on; at 16 KiB they lose some again.
Prefetch machine_prefetch() {
  constexpr int64_t kAhead = 8192;
  if (detect_cpu().fetches_ahead_too_little)
    return {.level = CacheLevel::l1, .weight_bytes = kAhead, .kv_bytes = kAhead};
  return {.level = CacheLevel::l2, .weight_bytes = 0, .kv_bytes = kAhead};
}

}  // namespace

// Each table is built on first use: even its construction may use instructions of its ISA.
const Kernels& kernels_for(Isa isa) {
#ifdef PAGODA_X86_KERNELS
  if (isa == Isa::amx) {
    static const Kernels amx = {isa, isa_amx::linear_kernels(), isa_avx512_bf16::op_kernels(),
                                machine_prefetch()};
    return amx;
  }
  if (isa == Isa::avx512_bf16) {
    static const Kernels avx512_bf16 = {isa, isa_avx512_bf16::linear_kernels(), isa_avx512_bf16::op_kernels(),
                                        machine_prefetch()};
    return avx512_bf16;
  }
  if (isa == Isa::avx512) {
    static const Kernels avx512 = {isa, isa_avx512::linear_kernels(), isa_avx512::op_kernels(),
                                   machine_prefetch()};
    return avx512;
  }
  if (isa == Isa::avxvnni) {
    static const Kernels avxvnni = {isa, isa_avxvnni::linear_kernels(), isa_avxvnni::op_kernels(),
                                    machine_prefetch()};
    return avxvnni;
  }
  if (isa == Isa::avx2) {
    static const Kernels avx2 = {isa, isa_avx2::linear_kernels(), isa_avx2::op_kernels(), machine_prefetch()};
    return avx2;
  }
#endif
  PAGODA_CHECK(isa == Isa::scalar, "this build has no {} kernels", to_string(isa));
  static const Kernels scalar = {isa, isa_scalar::linear_kernels(), isa_scalar::op_kernels()};
  return scalar;
}

}  // namespace pagoda
