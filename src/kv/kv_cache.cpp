#include "kv/kv_cache.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <utility>

#include "base/check.h"

namespace pagoda {

namespace {

// In debug builds whoever reads a page that nobody holds reads NaN.
std::function<void(PageId)> poison(KvPool& pool) {
#ifdef NDEBUG
  static_cast<void>(pool);
  return {};
#else
  return [&pool](PageId page) { pool.poison_page(page); };
#endif
}

}  // namespace

KvCache::KvCache(KvPool& pool, int32_t max_tables, int64_t max_context, const PrefixCacheOptions& prefix)
    : pool_(&pool),
      max_context_(max_context),
      allocator_(pool.num_pages(), poison(pool)),
      prefix_(allocator_, max_tables, prefix),
      tables_(static_cast<size_t>(max_tables)) {
  free_tables_.reserve(tables_.size());
  closing_.reserve(tables_.size());
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

KvHandle KvCache::create(const PrefixNamespace& prefix) {
  PAGODA_CHECK(!free_tables_.empty(), "all {} block tables are in use", tables_.size());
  const KvHandle handle = free_tables_.back();
  free_tables_.pop_back();
  tables_[static_cast<size_t>(handle)].in_use = true;
  tables_[static_cast<size_t>(handle)].cursor = prefix_.open(prefix);
  return handle;
}

void KvCache::give_up(PageId page) {
  allocator_.release(page);
  prefix_.on_released(page);
}

bool KvCache::is_being_read(const Table& table) const {
  return std::ranges::any_of(table.pages, [&](PageId page) { return prefix_.is_being_read(page); });
}

void KvCache::release(KvHandle handle) {
  if (prefix_.is_reading() && is_being_read(table(handle)))
    closing_.push_back(handle);
  else
    free_table(handle);
}

TailId KvCache::release_until_return(KvHandle handle) {
  Table& released = table(handle);
  const int64_t first_position = released.length / kPageTokens * kPageTokens;
  TailId tail = kNoTail;
  if (released.length > first_position && !(prefix_.is_reading() && is_being_read(released))) {
    truncate(handle, released.length);  // nothing is reserved after the tail
    tail = prefix_.keep_tail(released.pages.back(), first_position, released.length);
    if (tail != kNoTail) released.pages.pop_back();
  }
  release(handle);
  return tail;
}

int64_t KvCache::length_with_tail(int64_t length, TailId id, int64_t max_tokens) const {
  const KeptTail* tail = prefix_.find_tail(id);
  const bool fits = tail && tail->first_position == length && tail->end_position <= max_tokens;
  return fits ? tail->end_position : length;
}

void KvCache::restore_tail(KvHandle handle, TailId id, int64_t max_tokens) {
  Table& target = table(handle);
  const int64_t length = length_with_tail(target.length, id, max_tokens);
  if (length > std::exchange(target.length, length))
    target.pages.push_back(prefix_.take_tail(id));
  else
    prefix_.drop_tail(id);
}

void KvCache::free_table(KvHandle handle) {
  Table& released = table(handle);
  // Last page first: the free list is a stack, so the next sequence gets them in ascending order again.
  for (auto page = released.pages.rbegin(); page != released.pages.rend(); ++page) give_up(*page);
  prefix_.close(released.cursor);
  released.pages.clear();
  released.length = 0;
  released.in_use = false;
  free_tables_.push_back(handle);
}

PrefixHit KvCache::peek(const PrefixNamespace& prefix, const KeySource& keys, int64_t max_tokens) const {
  return prefix_.peek(prefix, keys, max_tokens);
}

PrefixHit KvCache::attach(KvHandle handle, const KeySource& keys, int64_t max_tokens) {
  Table& target = table(handle);
  PAGODA_CHECK(target.pages.empty() && max_tokens <= max_context_, "{} pages, {} tokens", target.pages.size(),
               max_tokens);
  const PrefixHit hit = prefix_.attach(target.cursor, keys, max_tokens, target.pages);
  target.length = hit.num_tokens();
  return hit;
}

void KvCache::publish(KvHandle handle, const KeySource& keys) {
  Table& source = table(handle);
  while ((source.cursor.num_pages + 1) * kPageTokens <= source.length) {
    const int64_t index = source.cursor.num_pages;
    if (!prefix_.insert(source.cursor, keys.page(index), source.pages[static_cast<size_t>(index)])) return;
  }
}

bool KvCache::settle(KvHandle handle) {
  Table& target = table(handle);
  const PrefixCache::Readiness readiness = prefix_.ready(target.cursor, target.pages);
  if (readiness == PrefixCache::Readiness::lost) {
    truncate(handle, target.cursor.num_ready * kPageTokens);
    return true;
  }
  return readiness == PrefixCache::Readiness::ready;
}

void KvCache::pump() {
  prefix_.pump();
  std::erase_if(closing_, [&](KvHandle handle) {
    if (is_being_read(table(handle))) return false;
    free_table(handle);
    return true;
  });
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
  const int64_t needed = pages_needed(handle, new_length);
  if (needed > num_available_pages() || !prefix_.make_room(static_cast<int32_t>(needed))) return false;
  Table& target = table(handle);
  if (new_length <= target.length) return true;
  if (last_page_needs_copy(target)) {
    PageId& shared = target.pages[static_cast<size_t>(target.length / kPageTokens)];
    const PageId copy = take_page();
    pool_->copy_page(shared, copy);
    give_up(shared);
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
  prefix_.cut(target.cursor, new_length / kPageTokens);
  while (static_cast<int64_t>(target.pages.size()) > pages_for(new_length)) {
    give_up(target.pages.back());
    target.pages.pop_back();
  }
  target.length = new_length;
}

KvHandle KvCache::fork(KvHandle handle) {
  PAGODA_CHECK(!free_tables_.empty(), "all {} block tables are in use", tables_.size());
  const KvHandle child = free_tables_.back();
  free_tables_.pop_back();
  const Table& parent = table(handle);
  Table& forked = tables_[static_cast<size_t>(child)];
  forked.in_use = true;
  forked.cursor = prefix_.fork(parent.cursor);
  const auto shared = std::span(parent.pages).first(static_cast<size_t>(pages_for(parent.length)));
  for (const PageId page : shared) allocator_.retain(page);
  forked.pages.assign(shared.begin(), shared.end());
  forked.length = parent.length;
  return child;
}

int64_t KvCache::length(KvHandle handle) const {
  return table(handle).length;
}

int64_t KvCache::published_length(KvHandle handle) const {
  return table(handle).cursor.num_pages * kPageTokens;
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
  for (PageId page = 0; page < num_pages(); ++page)
    holders[static_cast<size_t>(page)] =
        (prefix_.tree().owner(page) == kNoNode ? 0 : 1) + prefix_.num_fetch_shares(page);
  for (const auto& [id, tail] : prefix_.tails().entries())
    if (id != kNoTail) ++holders[static_cast<size_t>(tail.page)];
  size_t num_in_use = 0;
  for (size_t handle = 0; handle < tables_.size(); ++handle) {
    const Table& held = tables_[handle];
    num_in_use += held.in_use ? 1 : 0;
    PAGODA_CHECK(held.in_use || (held.pages.empty() && held.length == 0), "free table {} holds pages",
                 handle);
    PAGODA_CHECK(pages_for(held.length) <= static_cast<int64_t>(held.pages.size()),
                 "table {}: {} tokens in {} pages", handle, held.length, held.pages.size());
    for (const PageId page : held.pages) ++holders[static_cast<size_t>(page)];
    for (int64_t index = 0; held.in_use && index < held.cursor.num_pages; ++index)
      PAGODA_CHECK(prefix_.tree().owner(held.pages[static_cast<size_t>(index)]) != kNoNode,
                   "table {}: page {} of its prefix is not the cache's", handle, index);
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
  prefix_.check_invariants();
}

}  // namespace pagoda
