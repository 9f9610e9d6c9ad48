#include "engine/embedding_pool.h"

#include <algorithm>
#include <cmath>

namespace pagoda {

EmbeddingPool::EmbeddingPool(Pooling pooling, int64_t num_prompt, int64_t hidden_size)
    : pooling_(pooling),
      num_prompt_(num_prompt),
      sums_(static_cast<size_t>(hidden_size), 0.0),
      vector_(static_cast<size_t>(hidden_size), 0.0f) {}

PositionRange EmbeddingPool::rows_of(int64_t begin, int64_t end) const {
  if (!wanted()) return {};
  begin = std::max(begin, num_seen_);
  end = std::min(end, num_prompt_);
  if (pooling_ == Pooling::last) begin = std::max(begin, num_prompt_ - 1);
  if (pooling_ == Pooling::cls) end = std::min<int64_t>(end, 1);
  return begin < end ? PositionRange{begin, end} : PositionRange{};
}

void EmbeddingPool::add(std::span<const float> rows, int64_t end) {
  const size_t width = sums_.size();
  for (size_t row = 0; row * width < rows.size(); ++row)
    for (size_t i = 0; i < width; ++i) sums_[i] += static_cast<double>(rows[row * width + i]);
  num_seen_ = std::max(num_seen_, std::min(end, num_prompt_));
}

bool EmbeddingPool::finish() {
  const double count = pooling_ == Pooling::mean ? static_cast<double>(num_prompt_) : 1.0;
  std::ranges::transform(sums_, vector_.begin(),
                         [count](double sum) { return static_cast<float>(sum / count); });
  return std::ranges::all_of(vector_, [](float value) { return std::isfinite(value); });
}

}  // namespace pagoda
