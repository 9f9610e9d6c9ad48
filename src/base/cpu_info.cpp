#include "base/cpu_info.h"

#include <fstream>

#include <sched.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace pagoda {

namespace {

std::string read_model_name() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    if (!line.starts_with("model name")) continue;
    const size_t colon = line.find(':');
    if (colon != std::string::npos && colon + 2 <= line.size()) return line.substr(colon + 2);
  }
  return "unknown processor";
}

int count_usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return CPU_COUNT(&set) > 0 ? CPU_COUNT(&set) : 1;
}

#if defined(__x86_64__)
uint64_t read_xcr0() {
  uint32_t low = 0;
  uint32_t high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t{high} << 32) | low;
}

// The kernel hands out tile registers only on request, to all threads of the process; asking again does no
// harm.
bool request_tile_registers() {
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

// As AMD and Intel number them: the base family and, where that is 15, the extended one added.
unsigned family_of(unsigned leaf1_eax) {
  const unsigned base = (leaf1_eax >> 8) & 0xf;
  return base == 0xf ? base + ((leaf1_eax >> 20) & 0xff) : base;
}

bool is_amd() {
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  return __get_cpuid(0, &eax, &ebx, &ecx, &edx) && ebx == signature_AMD_ebx && edx == signature_AMD_edx &&
         ecx == signature_AMD_ecx;
}

void detect_x86(CpuInfo& info) {
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return;
  info.fetches_ahead_too_little = is_amd() && family_of(eax) == 0x1a;
  const bool osxsave = ecx & (1u << 27);
  const bool fma = ecx & (1u << 12);
  const bool f16c = ecx & (1u << 29);
  if (!osxsave) return;
  const uint64_t xcr0 = read_xcr0();
  const bool ymm_state = (xcr0 & 0x6) == 0x6;
  const bool zmm_state = (xcr0 & 0xe6) == 0xe6;
  const bool tile_state = (xcr0 & 0x60000) == 0x60000;
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return;
  const unsigned max_subleaf = eax;
  info.avx2 = ymm_state && fma && f16c && (ebx & (1u << 5));
  const bool f = ebx & (1u << 16);
  const bool dq = ebx & (1u << 17);
  const bool bw = ebx & (1u << 30);
  const bool vl = ebx & (1u << 31);
  info.avx512 = info.avx2 && zmm_state && f && dq && bw && vl;
  info.avx512_vnni = info.avx512 && (ecx & (1u << 11));
  const bool tiles = tile_state && (edx & (1u << 24)) && request_tile_registers();
  info.amx_bf16 = tiles && (edx & (1u << 22));
  info.amx_int8 = tiles && (edx & (1u << 25));
  if (max_subleaf >= 1 && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx)) {
    info.avx_vnni = info.avx2 && (eax & (1u << 4));
    info.avx512_bf16 = info.avx512 && (eax & (1u << 5));
  }
}
#endif

}  // namespace

CpuInfo detect_cpu() {
  CpuInfo info;
  info.model_name = read_model_name();
  info.num_cores = count_usable_cores();
#if defined(__x86_64__)
  detect_x86(info);
#endif
  return info;
}

}  // namespace pagoda
