#include "sample/top_selector.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace pagoda {

std::span<const TokenLogprob> TopSelector::select(std::span<const float> values, size_t n, float floor) {
  n = std::min(n, values.size());
  if (n == 0) return {};
  // Candidates collect in the buffer; each time it holds `limit` of them, all but the n best are dropped and
  // the worst one kept becomes the threshold. Ids ascend, so a later value must exceed it: an equal one would
  // lose the tie.
  const size_t limit = std::min(std::max<size_t>(2 * n, 256), buffer_.size());
  float threshold = std::max(std::nextafter(floor, -std::numeric_limits<float>::infinity()),
                             -std::numeric_limits<float>::infinity());
  const auto begin = buffer_.begin();
  size_t size = 0;
  const auto consider = [&](size_t i) {
    if (!(values[i] > threshold)) return;
    if (size == limit) {
      std::nth_element(begin, begin + static_cast<int64_t>(n - 1), begin + static_cast<int64_t>(size),
                       comes_before);
      threshold = std::max(threshold, buffer_[n - 1].logprob);
      size = n;
      if (!(values[i] > threshold)) return;
    }
    buffer_[size++] = {static_cast<int32_t>(i), values[i]};
  };
  // Most blocks hold no candidate, and their maximum, found by vectors, says so.
  constexpr size_t kBlock = 128;
  for (size_t block = 0; block < values.size(); block += kBlock) {
    const size_t end = std::min(block + kBlock, values.size());
    if (!(kernels_->ops.max(values.data() + block, static_cast<int64_t>(end - block)) > threshold)) continue;
    for (size_t i = block; i < end; ++i) consider(i);
  }
  const size_t kept = std::min(n, size);
  if (size > kept)
    std::nth_element(begin, begin + static_cast<int64_t>(kept - 1), begin + static_cast<int64_t>(size),
                     comes_before);
  std::sort(begin, begin + static_cast<int64_t>(kept), comes_before);
  return {buffer_.data(), kept};
}

}  // namespace pagoda
