#include "nn/attention/token_places.h"

#include <algorithm>

#include "base/check.h"

namespace pagoda {

void TokenPlaces::add(const AttentionSequence& sequence, int num_kv_heads) {
  PAGODA_CHECK(num_sequences_ < sequences_.size(), "more than {} sequences", sequences_.size());
  const auto index = static_cast<int32_t>(num_sequences_);
  sequences_[num_sequences_++] = sequence;
  for (int32_t head = 0; head < num_kv_heads; ++head) {
    for (int64_t begin = 0; begin < sequence.num_tokens; begin += kAttentionTileTokens) {
      const int64_t end = std::min(begin + kAttentionTileTokens, sequence.num_tokens);
      items_[num_items_++] = {index, head, static_cast<int32_t>(begin), static_cast<int32_t>(end)};
    }
  }
}

}  // namespace pagoda
