// The machine under a benchmark: its limits, how much of them a measurement reached, and how both are
// printed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/fwd.hpp>

#include "base/thread_pool.h"
#include "engine/engine_config.h"
#include "kernels/kv_page.h"
#include "kernels/machine_limits.h"

namespace pagoda {

struct BenchMachine {
  std::string processor;
  Isa isa = Isa::scalar;
  int num_threads = 1;
  MachineLimits limits;
};

// Measures the limits with the pool's threads and this ISA (machine_limits.h).
Result<BenchMachine> measure_machine(const MachineInfo& machine, Isa isa, ThreadPool& pool);

// What some piece of work must read from memory and compute.
struct Work {
  double bytes = 0;
  double int8_ops = 0;
  double bf16_ops = 0;
  double f32_ops = 0;

  double ops() const { return int8_ops + bf16_ops + f32_ops; }
  // Adds the multiply-adds of a linear layer with such activations: the kernels' arithmetic follows from
  // them.
  void add_linear(ActivationFormat activations, double macs);
  // Adds those of attention over a cache of this type. int8 is multiplied by int16, which at best is half as
  // fast as int8.
  void add_attention(KvType kv, double macs);
};

// What a measured time is worth. Each share is of what the machine allows: 1 is the limit.
struct Achieved {
  double bytes_per_second = 0;
  double ops_per_second = 0;
  double bandwidth_share = 0;
  double arithmetic_share = 0;
  // Of the roofline: that of memory or arithmetic which binds this work.
  double limit_share = 0;
};
// Where the machine has no dot product of bf16, the limit of bf16_ops is that of f32.
Achieved achieved(const MachineLimits& limits, const Work& work, double seconds);

struct Spread {
  double min = 0;
  double median = 0;
  double max = 0;
};
// Of at least one value.
Spread spread_of(std::vector<double> values);
boost::json::object to_object(const Spread& spread);

// Members that every measurement has: isa, threads, machine.
void add_machine(const BenchMachine& machine, boost::json::object& object);
// gigabytes_per_second, bandwidth_share, gigaops_per_second, arithmetic_share, limit_share.
void add_achieved(const Achieved& achieved, boost::json::object& object);
// "AMD EPYC: avx512 kernels, 2 threads, reads 60.1 GB/s, int8 938, bf16 468 and f32 234 GOP/s"
std::string describe(const BenchMachine& machine);

}  // namespace pagoda
