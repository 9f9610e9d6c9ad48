// Loops that do nothing but load or multiply, one set per ISA. Behind machine_limits.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pagoda {

struct PeakKernels {
  // Loads every byte of [data, data + num_bytes) once, in four streams; num_bytes is a multiple of 4096.
  // Returns something that depends on the loads.
  uint64_t (*read)(const std::byte* data, size_t num_bytes) noexcept;
  // `rounds` rounds of independent multiply-accumulates; one round is int8_ops_per_round operations.
  uint64_t (*multiply_int8)(int64_t rounds) noexcept;
  int64_t int8_ops_per_round;
  uint64_t (*multiply_f32)(int64_t rounds) noexcept;
  int64_t f32_ops_per_round;
};

}  // namespace pagoda

namespace pagoda::isa_scalar {
PeakKernels peak_kernels();
}  // namespace pagoda::isa_scalar

namespace pagoda::isa_avx2 {
PeakKernels peak_kernels();
}  // namespace pagoda::isa_avx2

namespace pagoda::isa_avx512 {
PeakKernels peak_kernels();
}  // namespace pagoda::isa_avx512
