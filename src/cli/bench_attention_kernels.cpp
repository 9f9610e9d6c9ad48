#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "cli/kernel_bench.h"

namespace pagoda {

namespace {

constexpr int kSamples = 5;
constexpr size_t kPatternBytes = size_t{1} << 20;
// A matrix of f32, the largest of the linear measurements, takes 16 MiB.
constexpr size_t kLeastWorkingSet = size_t{32} << 20;

KvShape kv_shape(const AttentionShape& shape) {
  return {1, shape.num_kv_heads, shape.head_dim, shape.kv_type};
}

size_t layer_bytes(const KvShape& kv, int64_t depth) {
  const auto pages = static_cast<size_t>((depth + kPageTokens) / kPageTokens);  // the new token, too
  return kv.pool_bytes(pages);
}

std::vector<float> arbitrary_values(size_t count) {
  std::vector<float> values(count);
  uint32_t state = 1;
  for (float& value : values) {
    state = state * 1664525u + 1013904223u;
    value = static_cast<float>(state >> 8) * 0x1p-23f - 1;
  }
  return values;
}

// Fills memory with copies of the pattern.
void repeat(ThreadPool& pool, std::span<const std::byte> pattern, std::span<std::byte> memory) {
  const size_t num_copies = (memory.size() + pattern.size() - 1) / pattern.size();
  pool.parallel_for(num_copies, 1, [&](size_t begin, size_t end, int) {
    for (size_t copy = begin; copy < end; ++copy) {
      const auto to = memory.subspan(copy * pattern.size());
      std::memcpy(to.data(), pattern.data(), std::min(to.size(), pattern.size()));
    }
  });
}

// The caches of as many layers as the working set holds; a layer's new token is computed at a time, as in a
// model: threads share segments, then the outputs are merged.
class Layers {
 public:
  Layers(const KernelBench& bench, const AttentionShape& shape, int64_t depth)
      : bench_(bench),
        kv_(kv_shape(shape)),
        layer_bytes_(layer_bytes(kv_, depth)),
        num_layers_(bench.working_set.size() / layer_bytes_) {
    fill_caches();
    const auto pages = bench.scratch.take<PageId>(layer_bytes_ / kv_.layer_page_bytes());
    std::iota(pages.begin(), pages.end(), 0);
    const auto q_size = static_cast<size_t>(shape.num_q_heads) * static_cast<size_t>(shape.head_dim);
    const auto q = bench.scratch.take<float>(q_size);
    for (size_t i = 0; i < q_size; ++i) q[i] = std::sin(static_cast<float>(i));
    args_.page_table = pages.data();
    args_.num_q_heads = shape.num_q_heads;
    args_.q = q.data();
    args_.q_stride = static_cast<int64_t>(q_size);
    args_.out = bench.scratch.take<float>(q_size).data();
    args_.out_stride = args_.q_stride;
    args_.first_position = depth;
    args_.num_tokens = 1;
    args_.prefetch = bench.kernels.prefetch;
    args_.scale = 1 / std::sqrt(static_cast<float>(shape.head_dim));
    args_.kv = {&kv_, nullptr};
    num_segments_ = segments_of(args_, 0).count;
    partials_ = bench.scratch.take<float>(
        static_cast<size_t>(shape.num_kv_heads * num_segments_ * partial_floats(args_)));
  }
  Layers(const Layers&) = delete;
  Layers& operator=(const Layers&) = delete;

  // The next layer.
  int64_t run() {
    args_.kv.base = bench_.working_set.data() + next_ * layer_bytes_;
    next_ = (next_ + 1) % num_layers_;
    const auto num_heads = static_cast<size_t>(kv_.num_kv_heads);
    bench_.pool.parallel_for(num_heads * static_cast<size_t>(num_segments_), 1,
                             [&](size_t begin, size_t end, int) {
                               for (size_t item = begin; item < end; ++item) compute_segment(item);
                             });
    bench_.pool.parallel_for(num_heads, 4, [&](size_t begin, size_t end, int) {
      for (size_t head = begin; head < end; ++head) {
        const AttentionArgs args = args_of(head);
        bench_.kernels.ops.attention_merge(args, 0, num_segments_, partials_of(head, 0));
      }
    });
    return 1;
  }

 private:
  AttentionArgs args_of(size_t head) const {
    AttentionArgs args = args_;
    args.kv_head = static_cast<int>(head);
    return args;
  }
  float* partials_of(size_t head, int64_t segment) const {
    const int64_t index = static_cast<int64_t>(head) * num_segments_ + segment;
    return partials_.data() + index * partial_floats(args_);
  }
  void compute_segment(size_t item) const {
    const auto num_heads = static_cast<size_t>(kv_.num_kv_heads);
    const size_t head = item % num_heads;
    const auto segment = static_cast<int64_t>(item / num_heads);
    bench_.kernels.ops.attention_segment(args_of(head), 0, segment, partials_of(head, segment));
  }

  // One cluster of pages is filled as a model would; all others are its copies.
  void fill_caches() const {
    constexpr int64_t kTokens = int64_t{kClusterPages} * kPageTokens;
    const auto token_values = static_cast<size_t>(kv_.num_kv_heads) * static_cast<size_t>(kv_.head_dim);
    const std::vector<float> values = arbitrary_values(token_values + kTokens);
    std::vector<std::byte> cluster(kv_.pool_bytes(kClusterPages));
    std::vector<PageId> pages(kClusterPages);
    std::iota(pages.begin(), pages.end(), 0);
    // Each token has the values of the one before it, moved by one dim.
    const KvAppendArgs args = {.kv = {&kv_, cluster.data()},
                               .page_table = pages.data(),
                               .num_tokens = kTokens,
                               .k = values.data(),
                               .v = values.data(),
                               .stride = 1};
    for (int64_t part = 0; part < num_append_parts(kv_); ++part) bench_.kernels.ops.append_kv(args, part);
    repeat(bench_.pool, cluster, bench_.working_set);
  }

  const KernelBench& bench_;
  KvShape kv_;
  size_t layer_bytes_;
  size_t num_layers_;
  size_t next_ = 0;
  int64_t num_segments_ = 0;
  AttentionArgs args_;
  std::span<float> partials_;
};

}  // namespace

size_t bench_working_set_bytes(std::span<const int64_t> depths) {
  size_t bytes = kLeastWorkingSet;
  for (const AttentionShape& shape : kAttentionShapes)
    for (const int64_t depth : depths) bytes = std::max(bytes, layer_bytes(kv_shape(shape), depth));
  return bytes;
}

void fill_with_values(ThreadPool& pool, std::span<std::byte> memory) {
  const std::vector<float> pattern = arbitrary_values(kPatternBytes / sizeof(float));
  repeat(pool, std::as_bytes(std::span(pattern)), memory);
}

KernelFigures measure_attention(const KernelBench& bench, const AttentionShape& shape, int64_t depth,
                                double seconds) {
  const int64_t start_ns = bench.clock.now_ns();
  bench.scratch.reset();
  Layers layers(bench, shape, depth);
  layers.run();
  const double prepared = static_cast<double>(bench.clock.now_ns() - start_ns) * 1e-9;
  const double sample = std::max(1e-3, (seconds - prepared) / kSamples);
  std::vector<double> times;
  times.reserve(kSamples);
  for (int i = 0; i < kSamples; ++i)
    times.push_back(seconds_per_item(bench.clock, sample, [&] { return layers.run(); }));
  KernelFigures figures;
  figures.seconds = spread_of(std::move(times));
  const double values = static_cast<double>(depth + 1) * shape.head_dim;
  figures.work.bytes =
      static_cast<double>(depth + 1) * static_cast<double>(kv_shape(shape).layer_page_bytes()) / kPageTokens;
  figures.work.add_attention(shape.kv_type, 2 * values * shape.num_q_heads);
  return figures;
}

}  // namespace pagoda
