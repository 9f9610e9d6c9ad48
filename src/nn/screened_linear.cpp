#include "nn/screened_linear.h"

#include <algorithm>
#include <array>

#include "base/check.h"

namespace pagoda {

bool ScreeningGate::opens() {
  if (left_ == 0) return true;
  --left_;
  return false;
}

// An outline has two thirds of a group's bytes, and groups one by one take longer.
bool ScreeningGate::is_worth(int64_t num_passed, int64_t num_groups) {
  return 6 * num_passed <= num_groups;
}

void ScreeningGate::note(bool was_worth) {
  pause_ = was_worth ? 0 : std::min(2 * pause_ + 1, kLongestPause);
  left_ = pause_;
}

bool can_screen(const LinearWeight& weight, int64_t num_tokens) {
  return weight.matrix.packing == Packing::outline && weight.bias == nullptr && num_tokens > 0 &&
         num_tokens <= ScreeningScratch::kMaxTokens;
}

namespace {

class Screening {
 public:
  Screening(const Kernels& kernels, const ActivationRows& input, int64_t num_tokens, const LinearCall& call,
            const ScreeningScratch& scratch)
      : kernels_(kernels), scratch_(scratch), num_groups_(call.weight->matrix.num_groups()) {
    const PackedWeight& matrix = call.weight->matrix;
    const ActivationFormat format = matrix.activation_format();
    args_ = {.weight = matrix,
             .activations = input.data(format),
             .num_tokens = num_tokens,
             .out = call.out,
             .out_stride = call.out_stride,
             .prefetch = kernels.prefetch};
    for (int64_t token = 0; token < num_tokens; ++token)
      lengths_[static_cast<size_t>(token)] = activation_length(
          format,
          args_.activations + static_cast<size_t>(token) * activation_row_bytes(format, matrix.num_cols),
          matrix.num_cols);
  }

  int64_t grain() const {
    return std::max<int64_t>(1, kMacsPerChunk / (kRowsPerGroup * args_.weight.num_cols));
  }
  void outline(int64_t group_begin, int64_t group_end) const {
    kernels_.linear.outline(args_, group_begin, group_end);
    const size_t group_bytes = args_.weight.group_bytes();
    const std::byte* errors = args_.weight.data + static_cast<size_t>(group_begin + 1) * group_bytes -
                              kRowsPerGroup * sizeof(float);
    const int64_t row = group_begin * kRowsPerGroup;
    const int64_t num_rows = std::min(group_end * kRowsPerGroup, args_.weight.num_rows) - row;
    for (int64_t token = 0; token < args_.num_tokens; ++token)
      kernels_.ops.bound_groups(args_.out + token * args_.out_stride + row, num_rows, errors, group_bytes,
                                lengths_[static_cast<size_t>(token)],
                                scratch_.greatest(token, num_groups_) + group_begin,
                                scratch_.bounds(token, num_groups_) + group_begin);
  }
  // Lists the groups that may have a token's greatest output; how many that are.
  int64_t pass() const {
    Least least{};
    for (int64_t token = 0; token < args_.num_tokens; ++token)
      least[static_cast<size_t>(token)] = compute_best_group(token);
    constexpr int64_t kBlock = 64;
    int64_t num_passed = 0;
    for (int64_t block = 0; block < num_groups_; block += kBlock) {
      const int64_t block_end = std::min(block + kBlock, num_groups_);
      if (!any_passes(block, block_end, least)) continue;
      for (int64_t group = block; group < block_end; ++group)
        if (any_passes(group, group + 1, least))
          scratch_.passed()[static_cast<size_t>(num_passed++)] = static_cast<int32_t>(group);
    }
    return num_passed;
  }
  void compute_passed(size_t begin, size_t end) const {
    for (size_t i = begin; i < end; ++i) compute(scratch_.passed()[i]);
  }

 private:
  using Least = std::array<float, ScreeningScratch::kMaxTokens>;

  bool any_passes(int64_t group_begin, int64_t group_end, const Least& least) const {
    for (int64_t token = 0; token < args_.num_tokens; ++token) {
      const float* bounds = scratch_.bounds(token, num_groups_);
      // Written so that all pass where there is no number to reach.
      if (!(kernels_.ops.max(bounds + group_begin, group_end - group_begin) <
            least[static_cast<size_t>(token)]))
        return true;
    }
    return false;
  }
  void compute(int64_t group) const { kernels_.linear.linear(args_, group, group + 1); }
  // The greatest output of the group that has the greatest one by the outlines.
  float compute_best_group(int64_t token) const {
    const int64_t group = kernels_.ops.argmax(scratch_.greatest(token, num_groups_), num_groups_);
    compute(group);
    const int64_t row = group * kRowsPerGroup;
    return kernels_.ops.max(args_.out + token * args_.out_stride + row,
                            std::min(kRowsPerGroup, args_.weight.num_rows - row));
  }

  const Kernels& kernels_;
  const ScreeningScratch& scratch_;
  int64_t num_groups_;
  LinearArgs args_;
  std::array<float, ScreeningScratch::kMaxTokens> lengths_{};
};

}  // namespace

void run_screened_linear(ThreadPool& pool, const Kernels& kernels, const ActivationRows& input,
                         int64_t num_tokens, const LinearCall& call, const ScreeningScratch& scratch,
                         ScreeningGate& gate) noexcept {
  PAGODA_CHECK(can_screen(*call.weight, num_tokens) && call.store == Store::overwrite,
               "a layer that cannot be screened");
  const auto compute_all = [&] { run_linears(pool, kernels, input, num_tokens, std::span(&call, 1)); };
  if (!gate.opens()) return compute_all();
  const Screening screening(kernels, input, num_tokens, call, scratch);
  const int64_t num_groups = call.weight->matrix.num_groups();
  pool.parallel_for(static_cast<size_t>(num_groups), static_cast<size_t>(screening.grain()),
                    [&](size_t begin, size_t end, int) {
                      screening.outline(static_cast<int64_t>(begin), static_cast<int64_t>(end));
                    });
  const int64_t num_passed = screening.pass();
  const bool is_worth = ScreeningGate::is_worth(num_passed, num_groups);
  gate.note(is_worth);
  if (!is_worth) return compute_all();
  pool.parallel_for(static_cast<size_t>(num_passed), static_cast<size_t>(screening.grain()),
                    [&](size_t begin, size_t end, int) { screening.compute_passed(begin, end); });
}

}  // namespace pagoda
