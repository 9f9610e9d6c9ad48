#include "kernels/isa.h"

#include <algorithm>

namespace pagoda {

std::string_view to_string(Isa isa) {
  switch (isa) {
    case Isa::scalar:
      return "scalar";
    case Isa::avx2:
      return "avx2";
    case Isa::avxvnni:
      return "avxvnni";
    case Isa::avx512:
      return "avx512";
    case Isa::avx512_bf16:
      return "avx512_bf16";
    case Isa::amx:
      return "amx";
  }
  return "unknown";
}

std::vector<Isa> available_isas(const CpuInfo& cpu) {
  std::vector<Isa> isas = {Isa::scalar};
#ifdef PAGODA_X86_KERNELS
  if (cpu.avx2) isas.push_back(Isa::avx2);
  if (cpu.avx2 && cpu.avx_vnni) isas.push_back(Isa::avxvnni);
  if (cpu.avx2 && cpu.avx512 && cpu.avx512_vnni) {
    isas.push_back(Isa::avx512);
    if (cpu.avx512_bf16) isas.push_back(Isa::avx512_bf16);
    if (cpu.avx512_bf16 && cpu.amx_int8) isas.push_back(Isa::amx);
  }
#else
  (void)cpu;
#endif
  return isas;
}

Result<Isa> choose_isa(const CpuInfo& cpu, std::string_view forced) {
  const std::vector<Isa> available = available_isas(cpu);
  if (forced.empty()) return available.back();
  for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avxvnni, Isa::avx512, Isa::avx512_bf16, Isa::amx}) {
    if (to_string(isa) != forced) continue;
    if (std::ranges::find(available, isa) == available.end())
      return fail(ErrorCode::unsupported, "PAGODA_ISA asks for {}, which this processor ({}) or build lacks",
                  forced, cpu.model_name);
    return isa;
  }
  return fail(ErrorCode::invalid_argument,
              "PAGODA_ISA is '{}'; it must be scalar, avx2, avxvnni, avx512, avx512_bf16 or amx", forced);
}

}  // namespace pagoda
