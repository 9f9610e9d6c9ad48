#include "kv/page_allocator.h"

#include "base/check.h"

namespace pagoda {

PageAllocator::PageAllocator(int32_t num_pages) : ref_counts_(static_cast<size_t>(num_pages), 0) {
  free_.reserve(static_cast<size_t>(num_pages));
  for (PageId page = num_pages - 1; page >= 0; --page) free_.push_back(page);
}

std::optional<PageId> PageAllocator::allocate() {
  if (free_.empty()) return std::nullopt;
  const PageId page = free_.back();
  free_.pop_back();
  ref_counts_[static_cast<size_t>(page)] = 1;
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
  if (--ref_counts_[static_cast<size_t>(page)] == 0) free_.push_back(page);
}

}  // namespace pagoda
