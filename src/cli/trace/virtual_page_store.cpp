#include "cli/trace/virtual_page_store.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "kv/disk/disk_page_store.h"
#include "kv/disk/segment_files.h"

namespace pagoda {

namespace {

int64_t to_ns(double seconds) {
  return std::llround(seconds * 1e9);
}

}  // namespace

Result<std::unique_ptr<VirtualPageStore>> VirtualPageStore::create(const DiskModel& disk, uint64_t bytes,
                                                                   PageMemory& memory, Timeline& timeline) {
  PAGODA_TRY(const SegmentLayout layout,
             SegmentLayout::plan(bytes, DiskStoreOptions{}.segment_bytes, disk.page_bytes));
  return std::unique_ptr<VirtualPageStore>(new VirtualPageStore(disk, layout.num_slots, memory, timeline));
}

VirtualPageStore::VirtualPageStore(const DiskModel& disk, int32_t num_slots, PageMemory& memory,
                                   Timeline& timeline)
    : disk_(disk),
      memory_(memory),
      timeline_(timeline),
      ledger_(num_slots, disk.queue_depth),
      records_(static_cast<size_t>(num_slots)) {
  // The table gives out the last one first.
  for (SlotId slot = num_slots; slot-- > 0;) ledger_.slots().add_free(slot, SlotTable::Header::zero);
}

SlotId VirtualPageStore::write(const PageIdentity& identity, PageId page, uint64_t tag) {
  const auto taken = ledger_.begin_write();
  if (!taken) return kNoSlot;
  Record& record = records_[static_cast<size_t>(taken->slot)];
  record.identity = identity;
  record.bytes.resize(memory_.page_bytes());
  memory_.copy_out(page, record.bytes);
  begin({PageTransfer::Kind::write, true, taken->slot, page, tag}, disk_.write);
  return taken->slot;
}

bool VirtualPageStore::read(SlotId slot, const PageIdentity& identity, PageId page, uint64_t tag) {
  if (!ledger_.begin_read(slot, timeline_.now_ns())) return false;
  PAGODA_CHECK(records_[static_cast<size_t>(slot)].identity == identity, "slot {} holds another page", slot);
  begin({PageTransfer::Kind::read, true, slot, page, tag}, disk_.read);
  return true;
}

void VirtualPageStore::begin(PageTransfer transfer, const DiskWay& way) {
  free_ns_ = std::max(free_ns_, timeline_.now_ns()) + to_ns(way.page_seconds);
  const Pending begun{transfer, free_ns_ + to_ns(way.latency_seconds)};
  pending_.insert(std::ranges::upper_bound(pending_, begun.end_ns, {}, &Pending::end_ns), begun);
}

size_t VirtualPageStore::poll(std::span<PageTransfer> done) {
  size_t count = 0;
  for (; count < done.size() && count < pending_.size(); ++count) {
    if (pending_[count].end_ns > timeline_.now_ns()) break;
    const PageTransfer& ended = done[count] = pending_[count].transfer;
    if (ended.kind == PageTransfer::Kind::read)
      memory_.copy_in(ended.page, records_[static_cast<size_t>(ended.slot)].bytes);
    ledger_.end(ended, timeline_.now_ns());
  }
  pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(count));
  return count;
}

void VirtualPageStore::wait(int64_t max_ns) {
  const int64_t now_ns = timeline_.now_ns();
  timeline_.advance_to(std::clamp(next_end_ns().value_or(INT64_MAX), now_ns, now_ns + max_ns));
}

std::optional<int64_t> VirtualPageStore::next_end_ns() const {
  if (pending_.empty()) return std::nullopt;
  return pending_.front().end_ns;
}

}  // namespace pagoda
