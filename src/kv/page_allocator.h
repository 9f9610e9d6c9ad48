// Page ids with reference counts: which pages are free and how many holders each other one has. Knows no
// bytes.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "kernels/kv_page.h"

namespace pagoda {

// Not thread-safe: the engine thread owns it. All operations are O(1); nothing is allocated after
// construction.
class PageAllocator {
 public:
  // on_free, if given, hears of each page that loses its last holder.
  explicit PageAllocator(int32_t num_pages, std::function<void(PageId)> on_free = {});

  // A free page with one holder, or nothing when none is left. Lowest-numbered first at start, so that a
  // fresh sequence lies in adjacent pages; later the one freed last.
  std::optional<PageId> allocate();
  void retain(PageId page);   // one more holder of a page that is held
  void release(PageId page);  // one holder fewer; the last one frees it at once

  int32_t ref_count(PageId page) const { return ref_counts_[static_cast<size_t>(page)]; }
  int32_t num_pages() const { return static_cast<int32_t>(ref_counts_.size()); }
  int32_t num_free() const { return static_cast<int32_t>(free_.size()); }
  // Pages from here on have never been held.
  PageId frontier() const { return frontier_; }

 private:
  std::vector<int32_t> ref_counts_;
  std::vector<PageId> free_;
  PageId frontier_ = 0;
  std::function<void(PageId)> on_free_;
};

}  // namespace pagoda
