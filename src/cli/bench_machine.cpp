#include "cli/bench_machine.h"

#include <algorithm>

#include <boost/json.hpp>

namespace pagoda {

namespace {

double share(double part, double whole) {
  return whole > 0 ? part / whole : 0;
}

}  // namespace

Result<BenchMachine> measure_machine(const MachineInfo& machine, Isa isa, ThreadPool& pool) {
  BenchMachine measured = {machine.cpu.model_name, isa, pool.num_threads(), {}};
  PAGODA_TRY(measured.limits, measure_machine_limits(isa, pool, machine.available_memory));
  return measured;
}

void Work::add_linear(ActivationFormat activations, double macs) {
  double& ops = activations == ActivationFormat::f32    ? f32_ops
                : activations == ActivationFormat::bf16 ? bf16_ops
                                                        : int8_ops;
  ops += 2 * macs;
}

void Work::add_attention(KvType kv, double macs) {
  double& ops = kv == KvType::f32 ? f32_ops : kv == KvType::bf16 ? bf16_ops : int8_ops;
  ops += 2 * macs;
}

Achieved achieved(const MachineLimits& limits, const Work& work, double seconds) {
  Achieved result;
  result.bytes_per_second = share(work.bytes, seconds);
  result.ops_per_second = share(work.ops(), seconds);
  result.bandwidth_share = share(result.bytes_per_second, limits.read_bytes_per_second);
  const double bf16_limit =
      limits.bf16_ops_per_second > 0 ? limits.bf16_ops_per_second : limits.f32_ops_per_second;
  const double least_seconds = share(work.int8_ops, limits.int8_ops_per_second) +
                               share(work.bf16_ops, bf16_limit) +
                               share(work.f32_ops, limits.f32_ops_per_second);
  result.arithmetic_share = share(least_seconds, seconds);
  result.limit_share = std::max(result.bandwidth_share, result.arithmetic_share);
  return result;
}

Spread spread_of(std::vector<double> values) {
  std::ranges::sort(values);
  const size_t middle = values.size() / 2;
  const double median = values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  return {values.front(), median, values.back()};
}

boost::json::object to_object(const Spread& spread) {
  return {{"min", spread.min}, {"median", spread.median}, {"max", spread.max}};
}

void add_machine(const BenchMachine& machine, boost::json::object& object) {
  object["isa"] = std::string(to_string(machine.isa));
  object["threads"] = machine.num_threads;
  boost::json::object& limits = object["machine"].emplace_object();
  limits["processor"] = machine.processor;
  limits["read_gigabytes_per_second"] = machine.limits.read_bytes_per_second * 1e-9;
  limits["int8_gigaops_per_second"] = machine.limits.int8_ops_per_second * 1e-9;
  if (machine.limits.bf16_ops_per_second > 0)
    limits["bf16_gigaops_per_second"] = machine.limits.bf16_ops_per_second * 1e-9;
  limits["f32_gigaops_per_second"] = machine.limits.f32_ops_per_second * 1e-9;
}

void add_achieved(const Achieved& achieved, boost::json::object& object) {
  object["gigabytes_per_second"] = achieved.bytes_per_second * 1e-9;
  object["bandwidth_share"] = achieved.bandwidth_share;
  object["gigaops_per_second"] = achieved.ops_per_second * 1e-9;
  object["arithmetic_share"] = achieved.arithmetic_share;
  object["limit_share"] = achieved.limit_share;
}

std::string describe(const BenchMachine& machine) {
  const MachineLimits& limits = machine.limits;
  const std::string bf16 = limits.bf16_ops_per_second > 0
                               ? fmt::format(", bf16 {:.0f}", limits.bf16_ops_per_second * 1e-9)
                               : std::string();
  return fmt::format("{}: {} kernels, {} threads, reads {:.1f} GB/s, int8 {:.0f}{} and f32 {:.0f} GOP/s",
                     machine.processor, to_string(machine.isa), machine.num_threads,
                     limits.read_bytes_per_second * 1e-9, limits.int8_ops_per_second * 1e-9, bf16,
                     limits.f32_ops_per_second * 1e-9);
}

}  // namespace pagoda
