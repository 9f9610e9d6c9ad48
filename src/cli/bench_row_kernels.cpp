#include <algorithm>

#include "cli/kernel_bench.h"

namespace pagoda {

namespace {

constexpr int kSamples = 5;
constexpr int64_t kHidden = 4096;
constexpr int64_t kVocabulary = 131072;

int num_inputs(RowKernel kernel) {
  return kernel == RowKernel::silu_multiply ? 2 : 1;
}

// inputs: num_inputs rows side by side. Returns something that depends on the result.
float run_row(const Kernels& kernels, RowKernel kernel, const float* inputs, const float* weight,
              float* out) {
  const int64_t n = row_length(kernel);
  switch (kernel) {
    case RowKernel::quantize_32:
      kernels.linear.quantize(ActivationFormat::q8_32, inputs, n, reinterpret_cast<std::byte*>(out));
      return out[0];
    case RowKernel::quantize_256:
      kernels.linear.quantize(ActivationFormat::q8_256, inputs, n, reinterpret_cast<std::byte*>(out));
      return out[0];
    case RowKernel::rms_norm:
      kernels.ops.rms_norm(inputs, weight, n, 1e-6f, 0, out);
      return out[0];
    case RowKernel::silu_multiply:
      kernels.ops.activate_and_multiply(Activation::Kind::silu, inputs, inputs + n, n, out);
      return out[0];
    case RowKernel::argmax:
      return static_cast<float>(kernels.ops.argmax(inputs, n));
    case RowKernel::log_sum_exp:
      return kernels.ops.log_sum_exp(inputs, n);
  }
  return 0;
}

class Rows {
 public:
  Rows(const KernelBench& bench, RowKernel kernel)
      : bench_(bench),
        kernel_(kernel),
        row_floats_(static_cast<size_t>(row_length(kernel) * num_inputs(kernel))),
        num_rows_(bench.working_set.size() / (row_floats_ * sizeof(float))) {
    const auto threads = static_cast<size_t>(bench.pool.num_threads());
    weight_ = bench.scratch.take<float>(static_cast<size_t>(row_length(kernel)));
    std::ranges::fill(weight_, 1.0f);
    out_ = bench.scratch.take<float>(threads * out_stride());
  }

  // All rows of the working set.
  int64_t run_from_memory() {
    bench_.pool.parallel_for(num_rows_, 1, [&](size_t begin, size_t end, int worker) {
      for (size_t row = begin; row < end; ++row) run(row, worker);
    });
    return static_cast<int64_t>(num_rows_);
  }
  // Each thread's own row, a few times.
  int64_t run_in_cache() {
    constexpr size_t kTimes = 64;
    const size_t items = kTimes * static_cast<size_t>(bench_.pool.num_threads());
    bench_.pool.parallel_for(items, 1, [&](size_t begin, size_t end, int worker) {
      for (size_t item = begin; item < end; ++item) run(static_cast<size_t>(worker) % num_rows_, worker);
    });
    return static_cast<int64_t>(items);
  }
  double row_bytes() const { return static_cast<double>(row_floats_ * sizeof(float)); }

 private:
  // Quantised rows are shorter than plain ones, but have records.
  size_t out_stride() const { return static_cast<size_t>(row_length(kernel_)) + 1024; }
  void run(size_t row, int worker) const {
    const auto* inputs = reinterpret_cast<const float*>(bench_.working_set.data()) + row * row_floats_;
    float* out = out_.data() + static_cast<size_t>(worker) * out_stride();
    float result = run_row(bench_.kernels, kernel_, inputs, weight_.data(), out);
    asm volatile("" : "+m"(result));  // so that no result is without use
  }

  const KernelBench& bench_;
  RowKernel kernel_;
  size_t row_floats_;
  size_t num_rows_;
  std::span<float> weight_;
  std::span<float> out_;
};

}  // namespace

std::string_view to_string(RowKernel kernel) {
  switch (kernel) {
    case RowKernel::quantize_32:
      return "quantize by 32";
    case RowKernel::quantize_256:
      return "quantize by 256";
    case RowKernel::rms_norm:
      return "rms norm";
    case RowKernel::silu_multiply:
      return "silu and multiply";
    case RowKernel::argmax:
      return "argmax";
    case RowKernel::log_sum_exp:
      return "log-sum-exp";
  }
  return "unknown";
}

int64_t row_length(RowKernel kernel) {
  return kernel == RowKernel::argmax || kernel == RowKernel::log_sum_exp ? kVocabulary : kHidden;
}

RowFigures measure_row_kernel(const KernelBench& bench, RowKernel kernel, double seconds) {
  const double sample = std::max(1e-3, seconds / (2 * kSamples));
  bench.scratch.reset();
  Rows rows(bench, kernel);
  std::vector<double> from_memory;
  std::vector<double> in_cache;
  for (int i = 0; i < kSamples; ++i) {
    from_memory.push_back(seconds_per_item(bench.clock, sample, [&] { return rows.run_from_memory(); }));
    in_cache.push_back(seconds_per_item(bench.clock, sample, [&] { return rows.run_in_cache(); }));
  }
  RowFigures figures;
  figures.from_memory.seconds = spread_of(std::move(from_memory));
  figures.from_memory.work.bytes = rows.row_bytes();
  figures.seconds_in_cache = spread_of(std::move(in_cache));
  return figures;
}

}  // namespace pagoda
