#include <algorithm>

#include "base/clock.h"
#include "cli/bench.h"
#include "cli/resident_memory.h"
#include "cli/terminal.h"
#include "engine/evaluate.h"
#include "nn/screened_linear.h"

namespace pagoda {

namespace {

void ignore_logits(int64_t, std::span<const float>) {}

// Seconds to compute one prompt.
Result<double> time_prefill(Evaluator& evaluator, const BenchCase& bench_case,
                            std::span<const int32_t> prompt) {
  const SteadyClock clock;
  const int64_t start_ns = clock.now_ns();
  PAGODA_TRY_STATUS(evaluator.append(0, prompt.first(static_cast<size_t>(bench_case.tokens)),
                                     static_cast<size_t>(bench_case.tokens - 1), ignore_logits));
  return static_cast<double>(clock.now_ns() - start_ns) * 1e-9;
}

// Seconds to decode all sequences together; each goes on with its most likely tokens.
Result<double> time_decode(Evaluator& evaluator, const OpKernels& ops, const BenchCase& bench_case) {
  std::vector<int32_t> tokens(static_cast<size_t>(bench_case.sequences));
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(i);
  const SteadyClock clock;
  const int64_t start_ns = clock.now_ns();
  for (int64_t step = 0; step < bench_case.tokens; ++step) {
    PAGODA_TRY(const std::span<const float> logits, evaluator.step(tokens, !bench_case.all_logits));
    const size_t vocab_size = logits.size() / tokens.size();
    for (size_t i = 0; i < tokens.size(); ++i)
      tokens[i] =
          static_cast<int32_t>(ops.argmax(logits.data() + i * vocab_size, static_cast<int64_t>(vocab_size)));
  }
  return static_cast<double>(clock.now_ns() - start_ns) * 1e-9;
}

// The caches of some sequences, which only ever grow.
class FilledCaches {
 public:
  FilledCaches(Evaluator& evaluator, int32_t sequences, std::span<const int32_t> tokens)
      : evaluator_(evaluator), sequences_(sequences), tokens_(tokens) {}

  // Every sequence then holds the first `depth` tokens. Takes steps of a few hundred tokens to show progress.
  Status extend_to(int64_t depth) {
    constexpr int64_t kStep = 1024;
    const SteadyClock clock;
    const int64_t start_ns = clock.now_ns();
    Progress progress("filling the cache");
    for (int32_t sequence = 0; sequence < sequences_; ++sequence) {
      evaluator_.truncate(sequence, depth_);
      for (int64_t done = depth_; done < depth;) {
        const int64_t count = std::min(kStep, depth - done);
        const auto ids = tokens_.subspan(static_cast<size_t>(done), static_cast<size_t>(count));
        PAGODA_TRY_STATUS(evaluator_.append(sequence, ids, ids.size(), ignore_logits));
        done += count;
        progress.update((sequence + static_cast<double>(done) / static_cast<double>(depth)) / sequences_);
      }
    }
    depth_ = depth;
    seconds_ += static_cast<double>(clock.now_ns() - start_ns) * 1e-9;
    return {};
  }
  // Forgets what came after the fill.
  void rewind() {
    for (int32_t sequence = 0; sequence < sequences_; ++sequence) evaluator_.truncate(sequence, depth_);
  }
  double seconds() const { return seconds_; }

 private:
  Evaluator& evaluator_;
  int32_t sequences_;
  std::span<const int32_t> tokens_;
  int64_t depth_ = 0;
  double seconds_ = 0;
};

Result<Measurement> measure(Bench& bench, Evaluator& evaluator, FilledCaches& caches,
                            const BenchCase& bench_case, std::span<const int32_t> tokens, int repeat) {
  Progress progress("measuring");
  std::vector<double> speeds;
  // The first run warms caches and pages and is not counted.
  for (int run = 0; run <= repeat; ++run) {
    caches.rewind();
    double seconds = 0;
    if (bench_case.kind == BenchKind::prefill) {
      PAGODA_TRY(seconds, time_prefill(evaluator, bench_case, tokens));
    } else {
      PAGODA_TRY(seconds, time_decode(evaluator, bench.loaded.kernels->ops, bench_case));
    }
    if (run > 0) speeds.push_back(static_cast<double>(bench_case.tokens * bench_case.sequences) / seconds);
    progress.update(static_cast<double>(run + 1) / (repeat + 1));
  }
  Measurement measurement;
  measurement.bench_case = bench_case;
  measurement.repeat = repeat;
  measurement.tokens_per_second = spread_of(std::move(speeds));
  measurement.work = work_per_token(bench.loaded.model->info(), bench_case, bench.peak);
  measurement.fill_seconds = caches.seconds();
  measurement.resident_bytes = resident_memory().total;
  return measurement;
}

Status measure_sequences(Bench& bench, const BenchArguments& arguments, int32_t sequences,
                         std::span<const int64_t> depths,
                         const std::function<void(const Measurement&)>& on_measurement) {
  const int64_t most_tokens = *std::ranges::max_element(arguments.tokens);
  PAGODA_TRY(Evaluator evaluator, bench.loaded.evaluator({.max_context = depths.back() + most_tokens,
                                                          .max_sequences = sequences,
                                                          .max_tokens_per_step = arguments.chunk}));
  const std::vector<int32_t> tokens =
      arbitrary_tokens(std::max(depths.back(), most_tokens), bench.loaded.model->info().vocab_size);
  FilledCaches caches(evaluator, sequences, tokens);
  for (const int64_t depth : depths) {
    PAGODA_TRY_STATUS(caches.extend_to(depth));
    for (const int64_t count : arguments.tokens) {
      const BenchCase bench_case = {arguments.kind, count,           depth,
                                    sequences,      arguments.chunk, arguments.all_logits};
      PAGODA_TRY(const Measurement measurement,
                 measure(bench, evaluator, caches, bench_case, tokens, arguments.repeat));
      on_measurement(measurement);
    }
  }
  return {};
}

// Positions that the tokens at [first, first + count) see, all together.
double attended_positions(int64_t window, int64_t first, int64_t count) {
  double total = 0;
  for (int64_t position = first; position < first + count; ++position)
    total += static_cast<double>(window > 0 ? std::min(window, position + 1) : position + 1);
  return total;
}

// Positions whose keys and values steps of `step` tokens read, all together: a step reads each once.
double read_positions(int64_t window, int64_t first, int64_t count, int64_t step) {
  double total = 0;
  for (int64_t begin = first; begin < first + count; begin += step) {
    const int64_t end = std::min(begin + step, first + count);
    const int64_t oldest = window > 0 ? std::max<int64_t>(0, begin + 1 - window) : 0;
    total += static_cast<double>(end - oldest);
  }
  return total;
}

}  // namespace

std::vector<int32_t> arbitrary_tokens(int64_t count, int64_t vocab_size) {
  std::vector<int32_t> tokens;
  uint32_t state = 1;
  for (int64_t i = 0; i < count; ++i) {
    state = state * 1664525u + 1013904223u;
    tokens.push_back(static_cast<int32_t>((state >> 8) % static_cast<uint64_t>(vocab_size)));
  }
  return tokens;
}

Work work_per_token(const ModelInfo& info, const BenchCase& bench_case, ArithmeticPeak peak) {
  const bool is_prefill = bench_case.kind == BenchKind::prefill;
  const int64_t step = is_prefill ? std::min<int64_t>(bench_case.chunk, bench_case.tokens) : 1;
  const KvShape& kv = info.kv_shape;
  const auto tokens = static_cast<double>(bench_case.tokens);
  double attended = 0;
  double read = 0;
  for (const int64_t window : info.layer_windows) {
    attended += attended_positions(window, bench_case.depth, bench_case.tokens) / tokens;
    read += read_positions(window, bench_case.depth, bench_case.tokens, step) / tokens;
  }
  // A step reads the weights once. Only the last token of a prompt needs logits.
  const auto tokens_per_step = static_cast<double>(is_prefill ? step : bench_case.sequences);
  const double linear_macs = static_cast<double>(info.macs_per_token) +
                             static_cast<double>(info.head_macs) / (is_prefill ? tokens : 1);
  const double kv_bytes = static_cast<double>(kv.layer_page_bytes()) / kPageTokens;
  Work work;
  const bool is_screened =
      !is_prefill && !bench_case.all_logits && bench_case.sequences <= ScreeningScratch::kMaxTokens;
  const uint64_t weight_bytes = is_screened ? info.screened_bytes_per_token : info.bytes_per_token;
  work.bytes = static_cast<double>(weight_bytes) / tokens_per_step + kv_bytes * read;
  double& linear_ops = peak == ArithmeticPeak::int8   ? work.int8_ops
                       : peak == ArithmeticPeak::bf16 ? work.bf16_ops
                                                      : work.f32_ops;
  linear_ops += 2 * linear_macs;
  work.add_attention(kv.type, 2.0 * info.num_query_heads * kv.head_dim * attended);
  return work;
}

Status measure_all(Bench& bench, const BenchArguments& arguments,
                   const std::function<void(const Measurement&)>& on_measurement) {
  std::vector<int64_t> depths = arguments.depths;
  std::ranges::sort(depths);
  for (const int32_t sequences : arguments.sequences)
    PAGODA_TRY_STATUS(measure_sequences(bench, arguments, sequences, depths, on_measurement));
  return {};
}

}  // namespace pagoda
