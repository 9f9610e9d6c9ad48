#include "engine/cost_probe.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "kv/kv_cache.h"

namespace pagoda {

namespace {

// Of the guess: orders of magnitude of one processor, not of this one.
constexpr double kBytesPerSecond = 10e9;
constexpr double kMacsPerSecond = 50e9;           // of a thread, in linear layers
constexpr double kAttentionMacsPerSecond = 10e9;  // of a thread
constexpr double kSecondsPerSequence = 20e-6;     // to sample, detokenize and hand over

constexpr int64_t kDeep = 2048;  // positions in the cache of those shapes that read many
constexpr int kMostRepeats = 3;

// A forward pass to be timed: each sequence computes `tokens`, and where `logits` is 1, samples the last.
struct Shape {
  int32_t sequences = 1;
  int32_t tokens = 1;
  int64_t depth = 0;
  int32_t logits = 0;
};
// Each brings in another term of the cost model; cheap ones first, since time may run out.
constexpr Shape kShapes[] = {
    {.sequences = 1, .tokens = 1, .depth = 0, .logits = 0},
    {.sequences = 1, .tokens = 1, .depth = 0, .logits = 1},
    {.sequences = 1, .tokens = 32, .depth = 0, .logits = 0},
    {.sequences = 1, .tokens = 1, .depth = kDeep, .logits = 1},
    {.sequences = 1, .tokens = 8, .depth = 0, .logits = 0},
    {.sequences = 8, .tokens = 1, .depth = 0, .logits = 1},
    {.sequences = 1, .tokens = 2, .depth = 0, .logits = 0},
    {.sequences = 1, .tokens = 64, .depth = kDeep, .logits = 0},
    {.sequences = 4, .tokens = 1, .depth = 0, .logits = 1},
    {.sequences = 16, .tokens = 1, .depth = 0, .logits = 1},
    {.sequences = 8, .tokens = 1, .depth = kDeep / 4, .logits = 1},
    {.sequences = 1, .tokens = 128, .depth = 0, .logits = 1},
};

bool fits(const Shape& shape, const BatchLimits& limits, int64_t num_pages) {
  return shape.sequences <= std::min(limits.max_sequences, limits.max_logits_rows) &&
         shape.sequences * shape.tokens <= limits.max_tokens &&
         shape.depth + shape.tokens <= limits.max_context &&
         shape.sequences * pages_for(shape.depth + shape.tokens) <= num_pages;
}

// The flat arrays of a shape.
class ProbeBatch {
 public:
  explicit ProbeBatch(const Shape& shape) {
    const int64_t pages_each = pages_for(shape.depth + shape.tokens);
    pages_.resize(static_cast<size_t>(shape.sequences * pages_each));
    std::iota(pages_.begin(), pages_.end(), 0);
    for (int32_t sequence = 0; sequence < shape.sequences; ++sequence) {
      const int32_t token_begin = sequence * shape.tokens;
      for (int32_t i = 0; i < shape.tokens; ++i) {
        token_ids_.push_back(0);
        positions_.push_back(static_cast<int32_t>(shape.depth) + i);
      }
      slices_.push_back({.token_begin = token_begin,
                         .num_tokens = shape.tokens,
                         .first_position = shape.depth,
                         .page_table = std::span(pages_).subspan(static_cast<size_t>(sequence * pages_each),
                                                                 static_cast<size_t>(pages_each))});
      if (shape.logits > 0) rows_.push_back(token_begin + shape.tokens - 1);
    }
  }
  ForwardBatch batch() const { return {token_ids_, positions_, slices_, rows_}; }

 private:
  std::vector<PageId> pages_;
  std::vector<int32_t> token_ids_;
  std::vector<int32_t> positions_;
  std::vector<SequenceSlice> slices_;
  std::vector<int32_t> rows_;
};

StepWork work_of(const Shape& shape, const AttentionReach& reach) {
  StepWork work;
  for (int32_t i = 0; i < shape.sequences; ++i) work.add({shape.depth, shape.tokens, shape.logits}, reach);
  return work;
}

double time_pass(const CostProbe& probe, const ProbeBatch& batch) {
  const int64_t start_ns = probe.clock.now_ns();
  probe.context.workspace.reset();
  const size_t num_logits =
      batch.batch().logits_rows.size() * static_cast<size_t>(probe.model.info().vocab_size);
  probe.model.forward(batch.batch(), probe.context, probe.logits.first(num_logits));
  return static_cast<double>(probe.clock.now_ns() - start_ns) * 1e-9;
}

}  // namespace

CostModel guess_costs(const ModelInfo& info, int num_threads) {
  const KvShape& kv = info.kv_shape;
  const auto head_bytes = static_cast<double>(info.head_macs) * static_cast<double>(info.weight_bytes) /
                          static_cast<double>(std::max<int64_t>(info.num_parameters, 1));
  const double kv_bytes = static_cast<double>(kv.page_bytes()) / kPageTokens;
  const double pair_macs = 2.0 * kv.num_layers * info.num_query_heads * kv.head_dim;
  const double token_seconds = static_cast<double>(info.macs_per_token) / (kMacsPerSecond * num_threads);
  CostVector costs{};
  const auto set = [&](CostTerm term, double seconds) { costs[static_cast<size_t>(term)] = seconds; };
  set(CostTerm::pass,
      std::max(static_cast<double>(info.bytes_per_token) - head_bytes, 0.0) / kBytesPerSecond);
  set(CostTerm::few_tokens, token_seconds);
  set(CostTerm::more_tokens, token_seconds);
  set(CostTerm::logits, head_bytes / kBytesPerSecond);
  set(CostTerm::logits_rows, static_cast<double>(info.head_macs) / (kMacsPerSecond * num_threads));
  set(CostTerm::kv_positions, kv_bytes / kBytesPerSecond);
  set(CostTerm::attention_pairs, pair_macs / (kAttentionMacsPerSecond * num_threads));
  set(CostTerm::sequences, kSecondsPerSequence);
  return CostModel(AttentionReach(info.layer_windows), costs);
}

void probe_costs(const CostProbe& probe, int64_t max_ns, CostModel& costs) {
  const double end = static_cast<double>(probe.clock.now_ns() + max_ns) * 1e-9;
  for (const Shape& shape : kShapes) {
    if (!fits(shape, probe.limits, probe.context.kv.num_pages())) continue;
    const ProbeBatch batch(shape);
    const StepWork work = work_of(shape, costs.reach());
    const auto seconds_left = [&] { return end - static_cast<double>(probe.clock.now_ns()) * 1e-9; };
    if (seconds_left() < 2 * costs.predict(work)) continue;
    double best = time_pass(probe, batch);  // touches memory for the first time
    for (int i = 0; i < kMostRepeats && seconds_left() > best; ++i) {
      const double seconds = time_pass(probe, batch);
      best = i == 0 ? seconds : std::min(best, seconds);
    }
    costs.add_seed(work, best);
    costs.fit();
  }
}

}  // namespace pagoda
