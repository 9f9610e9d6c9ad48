#include "cli/kernel_bench.h"

#include <algorithm>

#include <boost/json.hpp>

#include "cli/byte_size.h"
#include "cli/json.h"
#include "cli/session.h"
#include "cli/terminal.h"

namespace pagoda {

namespace {

constexpr double kLinearWeight = 3;
constexpr double kAttentionWeight = 1;
constexpr double kRowWeight = 0.5;

// Shares of the time that is left; what one measurement does not use, the others get.
class Budget {
 public:
  Budget(const Clock& clock, int64_t end_ns, double total_weight)
      : clock_(clock), end_ns_(end_ns), weight_left_(total_weight) {}
  double take(double weight) {
    const double left = std::max(0.0, static_cast<double>(end_ns_ - clock_.now_ns()) * 1e-9);
    const double seconds = left * weight / weight_left_;
    weight_left_ -= weight;
    return seconds;
  }

 private:
  const Clock& clock_;
  int64_t end_ns_;
  double weight_left_;
};

// Amounts per second of a piece that takes so many seconds.
boost::json::object rate_object(double amount, const Spread& seconds) {
  return to_object(Spread{amount / seconds.max, amount / seconds.median, amount / seconds.min});
}

class KernelReport {
 public:
  KernelReport(const BenchMachine& machine, bool json) : machine_(machine), json_(json) {}

  void linear_heading() const {
    std::string line = fmt::format("{:<13}{:>7}", "linear", "GB/s");
    for (const int64_t rows : kBenchRows) line += fmt::format("{:>12}", fmt::format("M = {}", rows));
    heading(
        "Linear layers: GOP/s with M rows of activations, share of the limit (memory or arithmetic, "
        "whichever binds);\nbelow it the time relative to M = 1",
        line);
  }
  void linear(const LinearFormat& format, std::span<const LinearFigures> all) const {
    std::string rates =
        fmt::format("{:<13}{:>7.1f}", to_string(format), reached(all.front()).bytes_per_second * 1e-9);
    std::string costs = fmt::format("{:<13}{:>7}", "", "");
    for (const LinearFigures& figures : all) {
      const Achieved at = reached(figures);
      rates += fmt::format("{:>6.0f}{:>4.0f} %", at.ops_per_second * 1e-9, 100 * at.limit_share);
      costs += fmt::format("{:>10.2f} x", figures.cost.median);
      if (json_) linear_object(format, figures, at);
    }
    lines(rates, dim(costs, Stream::out));
  }

  void attention_heading() const {
    heading(
        "Attention of one new token: keys and values read, share of the limit; G query heads for each KV "
        "head of D dimensions",
        fmt::format("{:<14}{:>4}{:>5}{:>5}{:>6}{:>8}{:>9}{:>11}{:>9}{:>12}{:>10}", "attention", "G", "D",
                    "KV", "type", "depth", "GB/s", "bandwidth", "GOP/s", "arithmetic", "of limit"));
  }
  void attention(const AttentionShape& shape, int64_t depth, const KernelFigures& figures) const {
    const Achieved at = achieved(machine_.limits, figures.work, figures.seconds.median);
    const int group = shape.num_q_heads / shape.num_kv_heads;
    if (json_) {
      boost::json::object object = begin("attention");
      object["model"] = std::string(shape.name);
      object["query_heads"] = shape.num_q_heads;
      object["kv_heads"] = shape.num_kv_heads;
      object["head_dim"] = shape.head_dim;
      object["kv_type"] = std::string(to_string(shape.kv_type));
      object["depth"] = depth;
      object["seconds"] = to_object(figures.seconds);
      finish(std::move(object), at);
    }
    lines(fmt::format("{:<14}{:>4}{:>5}{:>5}{:>6}{:>8}{:>9.1f}{:>9.0f} %{:>9.0f}{:>10.0f} %{:>8.0f} %",
                      shape.name, group, shape.head_dim, shape.num_kv_heads, to_string(shape.kv_type), depth,
                      at.bytes_per_second * 1e-9, 100 * at.bandwidth_share, at.ops_per_second * 1e-9,
                      100 * at.arithmetic_share, 100 * at.limit_share));
  }

  void row_heading() const {
    heading("Rows of activations and of logits: input read from memory, share of the limit; and from a cache",
            fmt::format("{:<18}{:>8}{:>9}{:>11}{:>16}{:>16}", "rows", "length", "GB/s", "of limit",
                        "in cache, GB/s", "in cache, us"));
  }
  void row(RowKernel kernel, const RowFigures& figures) const {
    const KernelFigures& memory = figures.from_memory;
    const Achieved at = achieved(machine_.limits, memory.work, memory.seconds.median);
    if (json_) {
      boost::json::object object = begin("row");
      object["operation"] = std::string(to_string(kernel));
      object["length"] = row_length(kernel);
      object["seconds"] = to_object(memory.seconds);
      object["seconds_in_cache"] = to_object(figures.seconds_in_cache);
      object["gigabytes_per_second_in_cache"] = memory.work.bytes / figures.seconds_in_cache.median * 1e-9;
      finish(std::move(object), at);
    }
    // Each thread works at a row of its own.
    lines(fmt::format("{:<18}{:>8}{:>9.1f}{:>9.0f} %{:>16.1f}{:>16.2f}", to_string(kernel),
                      row_length(kernel), at.bytes_per_second * 1e-9, 100 * at.limit_share,
                      memory.work.bytes / figures.seconds_in_cache.median * 1e-9,
                      figures.seconds_in_cache.median * 1e6 * machine_.num_threads));
  }

 private:
  Achieved reached(const LinearFigures& figures) const {
    return achieved(machine_.limits, figures.work, figures.seconds.median);
  }
  void linear_object(const LinearFormat& format, const LinearFigures& figures, const Achieved& at) const {
    boost::json::object object = begin("linear");
    object["format"] = std::string(to_string(format));
    object["rows"] = figures.rows;
    object["gigaops_per_second_spread"] = rate_object(figures.work.ops() * 1e-9, figures.seconds);
    object["relative_to_one_row"] = to_object(figures.cost);
    finish(std::move(object), at);
  }
  static boost::json::object begin(const char* kernel) { return {{"bench", "kernels"}, {"kernel", kernel}}; }
  void finish(boost::json::object object, const Achieved& at) const {
    add_achieved(at, object);
    add_machine(machine_, object);
    print_line(to_json(object));
    print_now("");
  }
  void heading(const std::string& explanation, const std::string& columns) const {
    if (json_) return;
    print_line("");
    print_line(explanation);
    print_line(bold(columns, Stream::out));
  }
  template <class... Lines>
  void lines(const Lines&... text) const {
    if (json_) return;
    (print_line(text), ...);
    print_now("");
  }

  const BenchMachine& machine_;
  bool json_;
};

}  // namespace

Status execute(const BenchKernelsArguments& arguments) {
  const SteadyClock clock;
  const int64_t end_ns = clock.now_ns() + static_cast<int64_t>(arguments.seconds * 1e9);
  const MachineInfo info = inspect_machine();
  PAGODA_TRY(const Isa isa, choose_isa(info.cpu, forced_isa()));
  ThreadPool pool(arguments.num_threads > 0 ? arguments.num_threads : info.cpu.num_cores);
  const size_t bytes =
      std::max<size_t>(arguments.working_set_bytes, bench_working_set_bytes(arguments.depths));
  // The system would promise it all the same, and end processes once it is written.
  if (bytes > info.available_memory)
    return fail(
        ErrorCode::out_of_memory,
        "a working set of {} does not fit the {} of memory that are free; lower --working-set or --depth",
        format_byte_size(bytes), format_byte_size(info.available_memory));
  PAGODA_TRY(const BenchMachine machine, measure_machine(info, isa, pool));
  if (!arguments.json) print_line(describe(machine));

  PAGODA_TRY(AlignedBuffer working_set, AlignedBuffer::allocate(bytes));
  PAGODA_TRY(Workspace scratch, Workspace::create(kBenchScratchBytes));
  Kernels kernels = kernels_for(isa);
  if (arguments.prefetch_bytes) {
    kernels.prefetch.weight_bytes = *arguments.prefetch_bytes;
    kernels.prefetch.kv_bytes = *arguments.prefetch_bytes;
  }
  const KernelBench bench = {kernels, pool, working_set.bytes(), scratch, clock};
  const KernelReport report(machine, arguments.json);
  Budget budget(
      clock, end_ns,
      kLinearWeight * static_cast<double>(arguments.formats.size()) +
          kAttentionWeight * static_cast<double>(kAttentionShapes.size() * arguments.depths.size()) +
          kRowWeight * static_cast<double>(kRowKernels.size()));

  report.linear_heading();
  for (const LinearFormat& format : arguments.formats)
    report.linear(format, measure_linear(bench, format, budget.take(kLinearWeight)));
  report.attention_heading();
  for (const AttentionShape& shape : kAttentionShapes)
    for (const int64_t depth : arguments.depths)
      report.attention(shape, depth, measure_attention(bench, shape, depth, budget.take(kAttentionWeight)));
  fill_with_values(pool, working_set.bytes());
  report.row_heading();
  for (const RowKernel kernel : kRowKernels)
    report.row(kernel, measure_row_kernel(bench, kernel, budget.take(kRowWeight)));
  return {};
}

}  // namespace pagoda
