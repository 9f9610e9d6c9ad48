#include <algorithm>

#include "base/clock.h"
#include "cli/bench.h"
#include "cli/terminal.h"
#include "engine/evaluate.h"

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
    PAGODA_TRY(const std::span<const float> logits, evaluator.step(tokens));
    const size_t vocab_size = logits.size() / tokens.size();
    for (size_t i = 0; i < tokens.size(); ++i)
      tokens[i] =
          static_cast<int32_t>(ops.argmax(logits.data() + i * vocab_size, static_cast<int64_t>(vocab_size)));
  }
  return static_cast<double>(clock.now_ns() - start_ns) * 1e-9;
}

Status fill_to_depth(Evaluator& evaluator, const BenchCase& bench_case, std::span<const int32_t> tokens) {
  const auto depth = static_cast<size_t>(bench_case.depth);
  for (int32_t sequence = 0; sequence < bench_case.sequences; ++sequence) {
    if (evaluator.length(sequence) < bench_case.depth) {
      PAGODA_TRY_STATUS(evaluator.append(sequence, tokens.first(depth), depth, ignore_logits));
    }
    evaluator.truncate(sequence, bench_case.depth);
  }
  return {};
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

void count_work(const ModelInfo& info, const BenchCase& bench_case, Measurement& measurement) {
  const KvShape& kv = info.kv_shape;
  const auto kv_bytes_per_position =
      static_cast<double>(size_t{2} * kv.element_bytes()) * kv.num_layers * kv.num_kv_heads * kv.head_dim;
  const double mean_context =
      static_cast<double>(bench_case.depth) + static_cast<double>(bench_case.tokens) / 2;
  const auto weight_bytes = static_cast<double>(info.bytes_per_token);
  const auto layer_ops = 2.0 * static_cast<double>(info.macs_per_token);
  const auto head_ops = 2.0 * static_cast<double>(info.head_macs);
  if (bench_case.kind == BenchKind::prefill) {
    // A chunk reads the weights and the keys and values before it once; only the last token needs logits.
    const auto chunk = static_cast<double>(std::min<int64_t>(bench_case.chunk, bench_case.tokens));
    measurement.bytes_per_token = (weight_bytes + kv_bytes_per_position * mean_context) / chunk;
    measurement.operations_per_token = layer_ops + head_ops / static_cast<double>(bench_case.tokens);
  } else {
    measurement.bytes_per_token = weight_bytes / bench_case.sequences + kv_bytes_per_position * mean_context;
    measurement.operations_per_token = layer_ops + head_ops;
  }
}

Result<Measurement> measure(Bench& bench, const BenchCase& bench_case, int repeat) {
  const ModelInfo& info = bench.loaded.model->info();
  PAGODA_TRY(Evaluator evaluator, bench.loaded.evaluator({.max_context = bench_case.depth + bench_case.tokens,
                                                          .max_sequences = bench_case.sequences,
                                                          .max_tokens_per_step = bench_case.chunk}));
  const std::vector<int32_t> tokens =
      arbitrary_tokens(std::max(bench_case.depth, bench_case.tokens), info.vocab_size);
  Progress progress("measuring");
  std::vector<double> speeds;
  // The first run warms caches and pages and is not counted.
  for (int run = 0; run <= repeat; ++run) {
    PAGODA_TRY_STATUS(fill_to_depth(evaluator, bench_case, tokens));
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
  count_work(info, bench_case, measurement);
  return measurement;
}

}  // namespace pagoda
