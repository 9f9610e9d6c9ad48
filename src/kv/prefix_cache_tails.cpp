// PrefixCache's care for pages that are not full: nobody but their sequence can use them.
#include "base/check.h"
#include "kv/prefix_cache.h"

namespace pagoda {

TailId PrefixCache::keep_tail(PageId page, int64_t first_position, int64_t end_position) {
  if (tails_.num_places() == 0 || pages_.ref_count(page) != 1) return kNoTail;
  if (tails_.is_full()) drop_oldest_tail();
  const TailId id = tails_.add({page, first_position, end_position});
  oldest_tails_.set(tails_.place(id), static_cast<double>(id));  // ids ascend
  return id;
}

const KeptTail* PrefixCache::find_tail(TailId id) const {
  return tails_.find(id);
}

PageId PrefixCache::take_tail(TailId id) {
  const int32_t place = tails_.place(id);
  oldest_tails_.remove(place);
  return tails_.take(place).page;
}

void PrefixCache::drop_tail(TailId id) {
  if (find_tail(id) != nullptr) pages_.release(take_tail(id));
}

void PrefixCache::drop_oldest_tail() {
  drop_tail(tails_.entries()[static_cast<size_t>(oldest_tails_.top())].id);
}

void PrefixCache::check_tails() const {
  PAGODA_CHECK(oldest_tails_.size() == tails_.num_used());
  for (const auto& [id, tail] : tails_.entries()) {
    if (id == kNoTail) continue;
    PAGODA_CHECK(oldest_tails_.contains(tails_.place(id)), "tail {}", id);
    PAGODA_CHECK(pages_.ref_count(tail.page) == 1 && tree_.owner(tail.page) == kNoNode,
                 "page {} is another's, too", tail.page);
    PAGODA_CHECK(tail.first_position % kPageTokens == 0 && tail.end_position > tail.first_position &&
                     tail.end_position < tail.first_position + kPageTokens,
                 "tail of positions {} to {}", tail.first_position, tail.end_position);
  }
}

}  // namespace pagoda
