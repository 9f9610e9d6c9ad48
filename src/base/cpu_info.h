// What the processor can do, from CPUID and XCR0 (the operating system must have enabled the register state,
// too).
#pragma once

#include <string>

namespace pagoda {

struct CpuInfo {
  std::string model_name;  // as /proc/cpuinfo has it
  int num_cores = 1;       // usable by this process (affinity mask)
  bool avx2 = false;       // AVX2, FMA and F16C
  bool avx_vnni = false;  // with AVX2; the VEX encoding, beside which AVX-512 VNNI is another instruction set
  bool avx512 = false;    // F, BW, DQ, VL
  bool avx512_vnni = false;
  bool avx512_bf16 = false;
  bool amx_int8 = false;  // with the operating system's permission to use tile registers
  bool amx_bf16 = false;
  // One sequential stream alone does not use a core's bandwidth, and fetching ahead by instructions, into the
  // first level of the cache, does: AMD's family 1Ah (Zen 5), measured. On Zen 4 a stream alone is as fast.
  bool fetches_ahead_too_little = false;
};

// Detected once per call; cheap. Where the processor has AMX, asks the operating system to let this process
// use it.
CpuInfo detect_cpu();

}  // namespace pagoda
