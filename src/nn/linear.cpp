#include "nn/linear.h"

#include <algorithm>

#include "base/check.h"

namespace pagoda {

namespace {

constexpr size_t kMaxCalls = 4;
constexpr int64_t kTokensPerRun = 48;  // a multiple of the kernels' tile heights
constexpr int64_t kFewTokens = 64;     // with which the kernels take one group at a time
constexpr int64_t kChunksPerThread = 8;
constexpr int64_t kAnnouncedTokens = 8;  // up to which reading the weights takes all the time

// Items are (run of tokens, groups of some call), groups innermost.
struct Cut {
  int64_t num_groups = 0;       // of all calls
  int64_t groups_per_item = 1;  // 2 for many tokens, since tiles may take two groups
  int64_t items_per_run = 0;
  int64_t tokens_per_run = 0;
  int64_t num_runs = 1;
  int64_t grain = 1;
};

Cut cut_work(std::span<const LinearCall> calls, int64_t num_tokens, int num_threads) {
  Cut cut;
  int64_t weights_per_group = 1;
  for (const LinearCall& call : calls) {
    const PackedWeight& matrix = call.weight->matrix;
    cut.num_groups += matrix.num_groups();
    weights_per_group = std::max(weights_per_group, matrix.rows_per_group() * matrix.num_cols);
  }
  const int64_t wanted_items = kChunksPerThread * num_threads;
  cut.tokens_per_run = num_tokens;
  if (num_threads > 1 && cut.num_groups < wanted_items && num_tokens > kTokensPerRun) {
    const int64_t max_runs = (num_tokens + kTokensPerRun - 1) / kTokensPerRun;
    const int64_t wanted_runs = std::min((wanted_items + cut.num_groups - 1) / cut.num_groups, max_runs);
    const int64_t tokens = (num_tokens + wanted_runs - 1) / wanted_runs;
    cut.tokens_per_run = (tokens + kTokensPerRun - 1) / kTokensPerRun * kTokensPerRun;
    cut.num_runs = (num_tokens + cut.tokens_per_run - 1) / cut.tokens_per_run;
  }
  if (num_tokens > kFewTokens) cut.groups_per_item = 2;
  cut.items_per_run = (cut.num_groups + cut.groups_per_item - 1) / cut.groups_per_item;
  const int64_t macs_per_item =
      cut.groups_per_item * weights_per_group * std::max<int64_t>(1, cut.tokens_per_run / 2);
  cut.grain = std::max<int64_t>(1, kMacsPerChunk / macs_per_item);
  return cut;
}

}  // namespace

void run_linears(ThreadPool& pool, const Kernels& kernels, const ActivationRows& input, int64_t num_tokens,
                 std::span<const LinearCall> calls) noexcept {
  PAGODA_CHECK(calls.size() <= kMaxCalls, "{} linear layers in one job", calls.size());
  if (num_tokens == 0) return;
  const Cut cut = cut_work(calls, num_tokens, pool.num_threads());

  // Groups [begin, end) of the concatenated calls for one run of tokens.
  const auto compute = [&](int64_t run, int64_t begin, int64_t end) {
    const int64_t first_token = run * cut.tokens_per_run;
    int64_t first_group = 0;
    for (const LinearCall& call : calls) {
      const PackedWeight& matrix = call.weight->matrix;
      const int64_t from = std::max<int64_t>(begin - first_group, 0);
      const int64_t to = std::min(end - first_group, matrix.num_groups());
      first_group += matrix.num_groups();
      if (from >= to) continue;
      const ActivationFormat format = matrix.activation_format();
      LinearArgs args;
      args.weight = matrix;
      args.activations = input.data(format) +
                         static_cast<size_t>(first_token) * activation_row_bytes(format, matrix.num_cols);
      args.num_tokens = std::min(cut.tokens_per_run, num_tokens - first_token);
      args.bias = call.weight->bias;
      args.out = call.out + first_token * call.out_stride;
      args.out_stride = call.out_stride;
      args.store = call.store;
      args.prefetch = kernels.prefetch;
      kernels.linear.linear(args, from, to);
    }
  };

  pool.parallel_for(static_cast<size_t>(cut.items_per_run * cut.num_runs), static_cast<size_t>(cut.grain),
                    [&](size_t begin, size_t end, int) {
                      for (auto item = static_cast<int64_t>(begin); item < static_cast<int64_t>(end);) {
                        const int64_t run = item / cut.items_per_run;
                        const int64_t run_end =
                            std::min((run + 1) * cut.items_per_run, static_cast<int64_t>(end));
                        const int64_t first = (item - run * cut.items_per_run) * cut.groups_per_item;
                        const int64_t last = (run_end - run * cut.items_per_run) * cut.groups_per_item;
                        compute(run, first, std::min(last, cut.num_groups));
                        item = run_end;
                      }
                    });
}

void announce_linears(ThreadPool& pool, const Kernels& kernels, int64_t num_tokens,
                      LinearGroup group) noexcept {
  if (kernels.prefetch.weight_bytes == 0 || num_tokens > kAnnouncedTokens) return;
  int64_t num_groups = 0;
  for (const LinearWeight* weight : group) num_groups += weight->matrix.num_groups();
  for (int worker = 0; worker < pool.num_threads(); ++worker) {
    auto first = static_cast<int64_t>(pool.slab_begin(static_cast<size_t>(num_groups), worker));
    const std::byte* begin = nullptr;
    for (const LinearWeight* weight : group) {
      const PackedWeight& matrix = weight->matrix;
      if (first < matrix.num_groups()) {
        const size_t group_bytes = matrix.group_bytes();
        begin = matrix.data + static_cast<size_t>(first) * group_bytes;
        break;
      }
      first -= matrix.num_groups();
    }
    pool.announce(worker, begin);
  }
}

}  // namespace pagoda
