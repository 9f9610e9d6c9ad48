#include "kv/page_allocator.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace pagoda {

PageAllocator::PageAllocator(int32_t num_pages, std::function<void(PageId)> on_free)
    : ref_counts_(static_cast<size_t>(num_pages), 0), on_free_(std::move(on_free)) {
  free_.reserve(static_cast<size_t>(num_pages));
  for (PageId page = num_pages - 1; page >= 0; --page) free_.push_back(page);
}

std::optional<PageId> PageAllocator::allocate() {
  if (free_.empty()) return std::nullopt;
  const PageId page = free_.back();
  free_.pop_back();
  ref_counts_[static_cast<size_t>(page)] = 1;
  frontier_ = std::max(frontier_, page + 1);
  return page;
}

void PageAllocator::retain(PageId page) {
  PAGODA_CHECK(page >= 0 && page < num_pages() && ref_count(page) > 0, "page {} of {} is free", page,
               num_pages());
  ++ref_counts_[static_cast<size_t>(page)];
}

void PageAllocator::release(PageId page) {
  PAGODA_CHECK(page >= 0 && page < num_pages() && ref_count(page) > 0, "page {} of {} is free", page,
               num_pages());
  if (--ref_counts_[static_cast<size_t>(page)] > 0) return;
  free_.push_back(page);
  if (on_free_) on_free_(page);
}

}  // namespace pagoda
