// The instruction sets that kernels are written for, and the one choice made at start.
#pragma once

#include <string_view>
#include <vector>

#include "base/cpu_info.h"
#include "base/result.h"

namespace pagoda {

enum class Isa {
  scalar,       // the definition: plain C++, any x86-64 or other machine
  avx2,         // AVX2 + FMA + F16C
  avxvnni,      // AVX2 and AVX-VNNI: its integer dot products in 256-bit vectors
  avx512,       // AVX-512 F, BW, DQ, VL and VNNI
  avx512_bf16,  // and BF16, for attention over bf16 pages
  amx,          // AMX int8 for linear layers of 16 tokens and more, beside avx512
};

std::string_view to_string(Isa isa);

// Those that this machine can run, slowest first; always holds scalar.
std::vector<Isa> available_isas(const CpuInfo& cpu);

// The fastest available, or the one that `forced` names ("scalar", "avx2", "avxvnni", "avx512",
// "avx512_bf16", "amx"; empty: no wish). The caller passes the environment variable PAGODA_ISA. An unknown
// name or one that the machine lacks is an error.
Result<Isa> choose_isa(const CpuInfo& cpu, std::string_view forced);

}  // namespace pagoda
