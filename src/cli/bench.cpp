#include "cli/bench.h"

#include <algorithm>

#include <boost/json.hpp>

#include "cli/byte_size.h"
#include "cli/json.h"
#include "cli/terminal.h"

namespace pagoda {

namespace {

// Integer kernels run where most bytes of the matrices are quantised.
ArithmeticPeak peak_for(const ModelFile& file) {
  size_t quantised = 0;
  size_t total = 0;
  for (const NamedTensor& tensor : file.tensors()) {
    total += tensor.view.data.size();
    if (!is_float(tensor.view.dtype)) quantised += tensor.view.data.size();
  }
  return quantised * 2 > total ? ArithmeticPeak::int8 : ArithmeticPeak::f32;
}

double share(double part, double whole) {
  return whole > 0 ? part / whole : 0;
}

double read_bytes_per_second(const Measurement& measurement) {
  return measurement.bytes_per_token * measurement.tokens_per_second.median;
}

double ops_per_second(const Measurement& measurement) {
  return measurement.operations_per_token * measurement.tokens_per_second.median;
}

std::string_view to_string(ArithmeticPeak peak) {
  return peak == ArithmeticPeak::int8 ? "int8" : "f32";
}

}  // namespace

std::string_view to_string(BenchKind kind) {
  switch (kind) {
    case BenchKind::prefill:
      return "prefill";
    case BenchKind::decode:
      return "decode";
    case BenchKind::batch:
      return "batch";
    case BenchKind::kv_cache:
      return "kv-cache";
  }
  return "unknown";
}

Result<Bench> prepare_bench(const ModelArguments& arguments) {
  Bench bench;
  PAGODA_TRY(bench.loaded, load_for_evaluation(arguments));
  bench.peak = peak_for(*bench.loaded.file);
  PAGODA_TRY(bench.limits, measure_machine_limits(bench.loaded.kernels->isa, *bench.loaded.pool,
                                                  bench.loaded.machine.available_memory));
  return bench;
}

Spread spread_of(std::vector<double> values) {
  std::ranges::sort(values);
  const size_t middle = values.size() / 2;
  const double median = values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  return {values.front(), median, values.back()};
}

void add_common_members(const Bench& bench, boost::json::object& object) {
  const ModelInfo& info = bench.loaded.model->info();
  object["model"] = info.name.empty() ? bench.loaded.file->path() : info.name;
  object["architecture"] = info.architecture;
  object["isa"] = std::string(to_string(bench.loaded.kernels->isa));
  object["threads"] = bench.loaded.pool->num_threads();
  object["kv_type"] = std::string(to_string(info.kv_shape.dtype));
  object["machine"] = {{"processor", bench.loaded.machine.cpu.model_name},
                       {"read_gigabytes_per_second", bench.limits.read_bytes_per_second * 1e-9},
                       {"int8_gigaops_per_second", bench.limits.int8_ops_per_second * 1e-9},
                       {"f32_gigaops_per_second", bench.limits.f32_ops_per_second * 1e-9}};
}

boost::json::object to_object(const Bench& bench, const Measurement& measurement) {
  boost::json::object object;
  const Spread& speed = measurement.tokens_per_second;
  object["bench"] = std::string(to_string(measurement.bench_case.kind));
  object["tokens"] = measurement.bench_case.tokens;
  object["depth"] = measurement.bench_case.depth;
  object["sequences"] = measurement.bench_case.sequences;
  object["chunk"] = measurement.bench_case.chunk;
  object["repeat"] = measurement.repeat;
  object["tokens_per_second"] = {{"min", speed.min}, {"median", speed.median}, {"max", speed.max}};
  object["bytes_per_token"] = measurement.bytes_per_token;
  object["gigabytes_per_second"] = read_bytes_per_second(measurement) * 1e-9;
  object["bandwidth_share"] = share(read_bytes_per_second(measurement), bench.limits.read_bytes_per_second);
  object["gigaops_per_second"] = ops_per_second(measurement) * 1e-9;
  object["arithmetic_share"] = share(ops_per_second(measurement), bench.peak_ops_per_second());
  object["arithmetic_peak"] = std::string(to_string(bench.peak));
  add_common_members(bench, object);
  return object;
}

void print_heading(const Bench& bench) {
  const ModelInfo& info = bench.loaded.model->info();
  print_line(fmt::format("{}: {} kernels, {} threads, reads {:.1f} GB/s, int8 {:.0f} and f32 {:.0f} GOP/s",
                         bench.loaded.machine.cpu.model_name, to_string(bench.loaded.kernels->isa),
                         bench.loaded.pool->num_threads(), bench.limits.read_bytes_per_second * 1e-9,
                         bench.limits.int8_ops_per_second * 1e-9, bench.limits.f32_ops_per_second * 1e-9));
  print_line(fmt::format("{}: {}, {} of weights, {} read for each token", bench.loaded.file->path(),
                         info.architecture, format_byte_size(info.weight_bytes),
                         format_byte_size(info.bytes_per_token)));
  print_line(bold(fmt::format("{:<10}{:>8}{:>8}{:>6}   {:>27}  {:>8}{:>12}{:>12}", "bench", "tokens", "depth",
                              "seqs", "tokens/s min  median     max", "GB/s", "bandwidth", "arithmetic"),
                  Stream::out));
}

void print_row(const Bench& bench, const Measurement& measurement) {
  const Spread& speed = measurement.tokens_per_second;
  print_line(fmt::format("{:<10}{:>8}{:>8}{:>6}   {:>12.1f}{:>8.1f}{:>8.1f}  {:>8.1f}{:>10.0f} %{:>10.0f} %",
                         to_string(measurement.bench_case.kind), measurement.bench_case.tokens,
                         measurement.bench_case.depth, measurement.bench_case.sequences, speed.min,
                         speed.median, speed.max, read_bytes_per_second(measurement) * 1e-9,
                         100 * share(read_bytes_per_second(measurement), bench.limits.read_bytes_per_second),
                         100 * share(ops_per_second(measurement), bench.peak_ops_per_second())));
}

Status execute(const BenchArguments& arguments) {
  PAGODA_TRY(Bench bench, prepare_bench(arguments.model));
  if (arguments.kind == BenchKind::kv_cache) return run_kv_cache_bench(bench, arguments);
  const int64_t longest = arguments.depth + *std::ranges::max_element(arguments.tokens);
  const auto context = choose_context(arguments.model, bench.loaded.model->info(), longest);
  if (!context) return std::unexpected(context.error());
  if (!arguments.json) print_heading(bench);
  for (const int32_t sequences : arguments.sequences) {
    for (const int64_t tokens : arguments.tokens) {
      const BenchCase bench_case = {arguments.kind, tokens, arguments.depth, sequences, arguments.chunk};
      PAGODA_TRY(const Measurement measurement, measure(bench, bench_case, arguments.repeat));
      if (arguments.json)
        print_line(to_json(to_object(bench, measurement)));
      else
        print_row(bench, measurement);
      print_now("");
    }
  }
  return {};
}

}  // namespace pagoda
