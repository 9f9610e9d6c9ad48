#include "cli/bench.h"

#include <algorithm>

#include <boost/json.hpp>

#include "cli/byte_size.h"
#include "cli/json.h"
#include "cli/terminal.h"

namespace pagoda {

namespace {

// That of the kernels that run for most bytes of the matrices.
ArithmeticPeak peak_for(const ModelFile& file, FloatActivations float_activations) {
  size_t quantised = 0;
  size_t bf16 = 0;
  size_t total = 0;
  for (const NamedTensor& tensor : file.tensors()) {
    total += tensor.view.data.size();
    if (!is_float(tensor.view.dtype)) quantised += tensor.view.data.size();
    if (tensor.view.dtype == DType::bf16) bf16 += tensor.view.data.size();
  }
  if (quantised * 2 > total) return ArithmeticPeak::int8;
  const bool rounds = float_activations == FloatActivations::bf16 && bf16 * 2 > total;
  return rounds ? ArithmeticPeak::bf16 : ArithmeticPeak::f32;
}

std::string_view to_string(ArithmeticPeak peak) {
  switch (peak) {
    case ArithmeticPeak::int8:
      return "int8";
    case ArithmeticPeak::bf16:
      return "bf16";
    case ArithmeticPeak::f32:
      return "f32";
  }
  return "unknown";
}

// At the median speed.
Achieved achieved(const Bench& bench, const Measurement& measurement) {
  return achieved(bench.machine.limits, measurement.work, 1 / measurement.tokens_per_second.median);
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
  bench.peak = peak_for(*bench.loaded.file, arguments.float_activations);
  PAGODA_TRY(bench.machine,
             measure_machine(bench.loaded.machine, bench.loaded.kernels->isa, *bench.loaded.pool));
  return bench;
}

void add_common_members(const Bench& bench, boost::json::object& object) {
  const ModelInfo& info = bench.loaded.model->info();
  object["model"] = info.name.empty() ? bench.loaded.file->path() : info.name;
  object["architecture"] = info.architecture;
  object["kv_type"] = std::string(to_string(info.kv_shape.type));
  add_machine(bench.machine, object);
}

boost::json::object to_object(const Bench& bench, const Measurement& measurement) {
  boost::json::object object;
  object["bench"] = std::string(to_string(measurement.bench_case.kind));
  object["tokens"] = measurement.bench_case.tokens;
  object["depth"] = measurement.bench_case.depth;
  object["sequences"] = measurement.bench_case.sequences;
  object["chunk"] = measurement.bench_case.chunk;
  object["all_logits"] = measurement.bench_case.all_logits;
  object["repeat"] = measurement.repeat;
  object["tokens_per_second"] = to_object(measurement.tokens_per_second);
  object["bytes_per_token"] = measurement.work.bytes;
  object["operations_per_token"] = measurement.work.ops();
  add_achieved(achieved(bench, measurement), object);
  object["arithmetic_peak"] = std::string(to_string(bench.peak));
  object["fill_seconds"] = measurement.fill_seconds;
  object["resident_bytes"] = measurement.resident_bytes;
  add_common_members(bench, object);
  return object;
}

void print_heading(const Bench& bench) {
  const ModelInfo& info = bench.loaded.model->info();
  print_line(describe(bench.machine));
  print_line(fmt::format("{}: {}, {} of weights, {} read for each token", bench.loaded.file->path(),
                         info.architecture, format_byte_size(info.weight_bytes),
                         format_byte_size(info.bytes_per_token)));
  print_line(bold(fmt::format("{:<8}{:>7}{:>7}{:>6}   {:>27}  {:>7}{:>11}{:>12}{:>10}{:>10}", "bench",
                              "tokens", "depth", "seqs", "tokens/s min  median     max", "GB/s", "bandwidth",
                              "arithmetic", "of limit", "RSS"),
                  Stream::out));
}

void print_row(const Bench& bench, const Measurement& measurement) {
  const Spread& speed = measurement.tokens_per_second;
  const BenchCase& bench_case = measurement.bench_case;
  const Achieved reached = achieved(bench, measurement);
  print_line(fmt::format(
      "{:<8}{:>7}{:>7}{:>6}   {:>12.1f}{:>8.1f}{:>8.1f}  {:>6.1f}{:>9.0f} %{:>10.0f} %{:>8.0f} %{:>10}",
      to_string(bench_case.kind), bench_case.tokens, bench_case.depth, bench_case.sequences, speed.min,
      speed.median, speed.max, reached.bytes_per_second * 1e-9, 100 * reached.bandwidth_share,
      100 * reached.arithmetic_share, 100 * reached.limit_share,
      format_byte_size(measurement.resident_bytes)));
}

Status execute(const BenchArguments& arguments) {
  PAGODA_TRY(Bench bench, prepare_bench(arguments.model));
  if (arguments.kind == BenchKind::kv_cache) return run_kv_cache_bench(bench, arguments);
  const int64_t longest =
      *std::ranges::max_element(arguments.depths) + *std::ranges::max_element(arguments.tokens);
  const auto context = choose_context(arguments.model, bench.loaded.model->info(), longest);
  if (!context) return std::unexpected(context.error());
  if (!arguments.json) print_heading(bench);
  return measure_all(bench, arguments, [&](const Measurement& measurement) {
    if (arguments.json)
      print_line(to_json(to_object(bench, measurement)));
    else
      print_row(bench, measurement);
    print_now("");
  });
}

}  // namespace pagoda
