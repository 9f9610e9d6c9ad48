// The n greatest of a row of logits without sorting it: one pass with a rising threshold.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/kernels.h"
#include "sample/token_logprob.h"

namespace pagoda {

// Order of candidates: greater value first, smaller id first among equals.
inline bool comes_before(const TokenLogprob& a, const TokenLogprob& b) {
  return a.logprob != b.logprob ? a.logprob > b.logprob : a.token < b.token;
}

// Scratch for one vocabulary; not thread-safe. Allocates nothing after construction.
class TopSelector {
 public:
  TopSelector(const Kernels& kernels, int64_t vocab_size)
      : kernels_(&kernels), buffer_(static_cast<size_t>(vocab_size)) {}

  // The min(n, size) first values >= floor in order (TokenLogprob::logprob holds the value); valid until the
  // next call. -infinity is never among them.
  std::span<const TokenLogprob> select(std::span<const float> values, size_t n, float floor);

  // All values that fulfil a condition, in order; valid until the next call.
  template <class Condition>
  std::span<const TokenLogprob> sorted_if(std::span<const float> values, Condition condition) {
    size_t size = 0;
    for (size_t i = 0; i < values.size(); ++i)
      if (condition(values[i])) buffer_[size++] = {static_cast<int32_t>(i), values[i]};
    const auto found = std::span(buffer_).first(size);
    std::ranges::sort(found, comes_before);
    return found;
  }

 private:
  const Kernels* kernels_;
  std::vector<TokenLogprob> buffer_;
};

}  // namespace pagoda
