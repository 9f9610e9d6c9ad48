#include "kv/kv_cache.h"

#include <algorithm>
#include <optional>

#include "base/check.h"

namespace pagoda {

KvCache::KvCache(KvPool& pool, int32_t max_tables, int64_t max_context)
    : pool_(&pool),
      max_context_(max_context),
      allocator_(pool.num_pages()),
      tables_(static_cast<size_t>(max_tables)) {
  free_tables_.reserve(tables_.size());
  for (KvHandle handle = max_tables - 1; handle >= 0; --handle) free_tables_.push_back(handle);
  for (Table& table : tables_) table.pages.reserve(static_cast<size_t>(pages_for(max_context)));
}

KvCache::Table& KvCache::table(KvHandle handle) {
  return const_cast<Table&>(static_cast<const KvCache*>(this)->table(handle));
}

const KvCache::Table& KvCache::table(KvHandle handle) const {
  PAGODA_CHECK(handle >= 0 && handle < static_cast<KvHandle>(tables_.size()) &&
                   tables_[static_cast<size_t>(handle)].in_use,
               "handle {} is not in use", handle);
  return tables_[static_cast<size_t>(handle)];
}

KvHandle KvCache::create() {
  PAGODA_CHECK(!free_tables_.empty(), "all {} block tables are in use", tables_.size());
  const KvHandle handle = free_tables_.back();
  free_tables_.pop_back();
  tables_[static_cast<size_t>(handle)].in_use = true;
  return handle;
}

void KvCache::release(KvHandle handle) {
  Table& released = table(handle);
  // Last page first: the free list is a stack, so the next sequence gets them in ascending order again.
  for (auto page = released.pages.rbegin(); page != released.pages.rend(); ++page) allocator_.release(*page);
  released.pages.clear();
  released.length = 0;
  released.in_use = false;
  free_tables_.push_back(handle);
}

bool KvCache::last_page_needs_copy(const Table& table) const {
  return table.length % kPageTokens != 0 &&
         allocator_.ref_count(table.pages[static_cast<size_t>(table.length / kPageTokens)]) > 1;
}

int64_t KvCache::pages_needed(KvHandle handle, int64_t new_length) const {
  const Table& target = table(handle);
  if (new_length <= target.length) return 0;
  const int64_t more = pages_for(new_length) - static_cast<int64_t>(target.pages.size());
  return std::max<int64_t>(more, 0) + (last_page_needs_copy(target) ? 1 : 0);
}

PageId KvCache::take_page() {
  const std::optional<PageId> page = allocator_.allocate();
  PAGODA_CHECK(page.has_value(), "no page is free");
  return page.value_or(0);
}

bool KvCache::reserve(KvHandle handle, int64_t new_length) {
  PAGODA_CHECK(new_length <= max_context_, "{} tokens in a table for {}", new_length, max_context_);
  if (pages_needed(handle, new_length) > num_free_pages()) return false;
  Table& target = table(handle);
  if (new_length <= target.length) return true;
  if (last_page_needs_copy(target)) {
    PageId& shared = target.pages[static_cast<size_t>(target.length / kPageTokens)];
    const PageId copy = take_page();
    pool_->copy_page(shared, copy);
    allocator_.release(shared);
    shared = copy;
  }
  while (static_cast<int64_t>(target.pages.size()) < pages_for(new_length))
    target.pages.push_back(take_page());
  return true;
}

void KvCache::commit(KvHandle handle, int64_t new_length) {
  Table& target = table(handle);
  PAGODA_CHECK(
      new_length >= target.length && pages_for(new_length) <= static_cast<int64_t>(target.pages.size()),
      "{} -> {} tokens in {} pages", target.length, new_length, target.pages.size());
  if (new_length == target.length) return;
  for (int64_t page = target.length / kPageTokens; page < pages_for(new_length); ++page)
    PAGODA_CHECK(allocator_.ref_count(target.pages[static_cast<size_t>(page)]) == 1,
                 "page {} of handle {} is shared", page, handle);
  target.length = new_length;
}

void KvCache::truncate(KvHandle handle, int64_t new_length) {
  Table& target = table(handle);
  PAGODA_CHECK(new_length >= 0 && new_length <= target.length, "{} -> {} tokens", target.length, new_length);
  while (static_cast<int64_t>(target.pages.size()) > pages_for(new_length)) {
    allocator_.release(target.pages.back());
    target.pages.pop_back();
  }
  target.length = new_length;
}

KvHandle KvCache::fork(KvHandle handle) {
  const KvHandle child = create();
  const Table& parent = table(handle);
  Table& forked = table(child);
  const auto shared = std::span(parent.pages).first(static_cast<size_t>(pages_for(parent.length)));
  for (const PageId page : shared) allocator_.retain(page);
  forked.pages.assign(shared.begin(), shared.end());
  forked.length = parent.length;
  return child;
}

int64_t KvCache::length(KvHandle handle) const {
  return table(handle).length;
}

std::span<const PageId> KvCache::page_table(KvHandle handle) const {
  return table(handle).pages;
}

int64_t KvCache::live_tokens() const {
  std::vector<int64_t> filled(static_cast<size_t>(num_pages()), 0);
  for (const Table& held : tables_) {
    for (int64_t page = 0; page < pages_for(held.length); ++page) {
      int64_t& fill = filled[static_cast<size_t>(held.pages[static_cast<size_t>(page)])];
      fill = std::max(fill, std::min<int64_t>(held.length - page * kPageTokens, kPageTokens));
    }
  }
  int64_t total = 0;
  for (const int64_t fill : filled) total += fill;
  return total;
}

void KvCache::check_invariants() const {
  std::vector<int32_t> holders(static_cast<size_t>(num_pages()), 0);
  size_t num_in_use = 0;
  for (size_t handle = 0; handle < tables_.size(); ++handle) {
    const Table& held = tables_[handle];
    num_in_use += held.in_use ? 1 : 0;
    PAGODA_CHECK(held.in_use || (held.pages.empty() && held.length == 0), "free table {} holds pages",
                 handle);
    PAGODA_CHECK(pages_for(held.length) <= static_cast<int64_t>(held.pages.size()),
                 "table {}: {} tokens in {} pages", handle, held.length, held.pages.size());
    for (const PageId page : held.pages) ++holders[static_cast<size_t>(page)];
  }
  PAGODA_CHECK(num_in_use + free_tables_.size() == tables_.size(), "{} in use, {} free of {}", num_in_use,
               free_tables_.size(), tables_.size());
  int32_t num_free = 0;
  for (PageId page = 0; page < num_pages(); ++page) {
    PAGODA_CHECK(holders[static_cast<size_t>(page)] == allocator_.ref_count(page),
                 "page {}: {} holders, count {}", page, holders[static_cast<size_t>(page)],
                 allocator_.ref_count(page));
    num_free += allocator_.ref_count(page) == 0 ? 1 : 0;
  }
  PAGODA_CHECK(num_free == num_free_pages(), "{} pages without holder, {} in the free list", num_free,
               num_free_pages());
}

}  // namespace pagoda
