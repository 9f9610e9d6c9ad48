// Loops that do nothing but load or multiply, one set per ISA. Behind machine_limits.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pagoda {

// `run` does `rounds` rounds of independent multiply-accumulates; one round is ops_per_round operations.
struct PeakLoop {
  uint64_t (*run)(int64_t rounds) noexcept = nullptr;
  int64_t ops_per_round = 0;
};

struct PeakKernels {
  // Loads every byte of [data, data + num_bytes) once, in four streams; num_bytes is a multiple of 4096.
  // Returns something that depends on the loads.
  uint64_t (*read)(const std::byte* data, size_t num_bytes) noexcept;
  PeakLoop int8;
  PeakLoop f32;
};

}  // namespace pagoda

namespace pagoda::isa_scalar {
PeakKernels peak_kernels();
}  // namespace pagoda::isa_scalar

namespace pagoda::isa_avx2 {
PeakKernels peak_kernels();
}  // namespace pagoda::isa_avx2

// Beside all that isa_avx2 measures.
namespace pagoda::isa_avxvnni {
PeakLoop int8_peak();
}  // namespace pagoda::isa_avxvnni

namespace pagoda::isa_avx512 {
PeakKernels peak_kernels();
}  // namespace pagoda::isa_avx512

// For machines that have AVX512_BF16 beside all that isa_avx512 needs.
namespace pagoda::isa_avx512_bf16 {
PeakLoop bf16_peak();
}  // namespace pagoda::isa_avx512_bf16
