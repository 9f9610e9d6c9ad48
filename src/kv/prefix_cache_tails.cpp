// PrefixCache's care for pages that are not full: nobody but their sequence can use them.
#include <utility>

#include "base/check.h"
#include "kv/prefix_cache.h"

namespace pagoda {

TailId PrefixCache::keep_tail(PageId page, int64_t first_position, int64_t end_position) {
  if (tails_.empty() || pages_.ref_count(page) != 1) return kNoTail;
  if (free_tails_.empty()) drop_tail(tails_[static_cast<size_t>(oldest_tails_.top())].id);
  const int32_t place = free_tails_.back();
  free_tails_.pop_back();
  const TailId id = num_tails_ * static_cast<TailId>(kMaxTails) + place;
  tails_[static_cast<size_t>(place)] = {id, page, first_position, end_position};
  oldest_tails_.set(place, static_cast<double>(num_tails_++));
  return id;
}

const KeptTail* PrefixCache::find_tail(TailId id) const {
  if (id == kNoTail) return nullptr;
  const KeptTail& tail = tails_[tail_place(id)];
  return tail.id == id ? &tail : nullptr;
}

PageId PrefixCache::take_tail(TailId id) {
  PAGODA_CHECK(find_tail(id) != nullptr, "tail {}", id);
  const auto place = static_cast<int32_t>(tail_place(id));
  oldest_tails_.remove(place);
  free_tails_.push_back(place);
  return std::exchange(tails_[tail_place(id)], {}).page;
}

void PrefixCache::drop_tail(TailId id) {
  if (find_tail(id) != nullptr) pages_.release(take_tail(id));
}

void PrefixCache::check_tails() const {
  for (size_t place = 0; place < tails_.size(); ++place) {
    const KeptTail& tail = tails_[place];
    const bool is_kept = tail.id != kNoTail;
    PAGODA_CHECK(oldest_tails_.contains(static_cast<int32_t>(place)) == is_kept, "place {}", place);
    if (!is_kept) continue;
    PAGODA_CHECK(pages_.ref_count(tail.page) == 1 && tree_.owner(tail.page) == kNoNode,
                 "page {} is another's, too", tail.page);
    PAGODA_CHECK(tail.first_position % kPageTokens == 0 && tail.end_position > tail.first_position &&
                     tail.end_position < tail.first_position + kPageTokens,
                 "tail of positions {} to {}", tail.first_position, tail.end_position);
  }
  PAGODA_CHECK(oldest_tails_.size() + free_tails_.size() == tails_.size());
}

}  // namespace pagoda
