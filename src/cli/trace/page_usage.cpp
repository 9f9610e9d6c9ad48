#include "cli/trace/page_usage.h"

#include <algorithm>

namespace pagoda {

namespace {
constexpr int32_t kNotSeen = -1;
}  // namespace

void PageUsage::add(const ForwardBatch& batch, double seconds) {
  int64_t num_tokens = 0;
  for (const SequenceSlice& slice : batch.sequences) {
    int64_t left = slice.first_position + slice.num_tokens;
    for (const PageId page : slice.page_table) {
      const auto index = static_cast<size_t>(page);
      if (index >= filled_.size()) filled_.resize(index + 1, kNotSeen);
      if (filled_[index] == kNotSeen) {
        filled_[index] = 0;
        seen_.push_back(page);
      }
      const auto count = static_cast<int32_t>(std::min<int64_t>(left, kPageTokens));
      left -= count;
      num_tokens += std::max(count - filled_[index], 0);
      filled_[index] = std::max(filled_[index], count);
    }
  }
  tokens_ += static_cast<double>(num_tokens) * seconds;
  slots_ += static_cast<double>(seen_.size()) * kPageTokens * seconds;
  for (const PageId page : seen_) filled_[static_cast<size_t>(page)] = kNotSeen;
  seen_.clear();
}

}  // namespace pagoda
