// What this machine can do at most, measured: the yardsticks that benchmarks are held against.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "base/thread_pool.h"
#include "kernels/isa.h"

namespace pagoda {

// All threads of a pool together; the best of several runs, since only interference makes a run slower.
struct MachineLimits {
  double read_bytes_per_second = 0;  // DRAM, 2 MiB pages, four streams per thread
  double int8_ops_per_second = 0;    // a multiply and an add of int8 are two operations
  double bf16_ops_per_second = 0;    // likewise; 0 where the processor or the ISA has no dot product of bf16
  double f32_ops_per_second = 0;     // likewise for fused multiply-adds
};

// Takes under a second and 512 MiB (half of `max_buffer_bytes` at most, when that is less).
// out_of_memory if the system refuses the buffer.
Result<MachineLimits> measure_machine_limits(Isa isa, ThreadPool& pool, uint64_t max_buffer_bytes);

}  // namespace pagoda
