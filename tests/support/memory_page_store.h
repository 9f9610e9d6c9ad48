// A PageStore in memory whose transfers end when the test says so, and fail when it says so.
#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <utility>
#include <vector>

#include "base/check.h"
#include "kv/page_store.h"

namespace pagoda::testing {

class MemoryPageStore final : public PageStore {
 public:
  MemoryPageStore(PageMemory& memory, int32_t num_slots, size_t max_transfers = 4)
      : memory_(&memory), num_slots_(num_slots), max_transfers_(max_transfers) {}
  ~MemoryPageStore() override {
    if (heir) move_contents_to(*heir);
  }

  int32_t num_slots() const override { return num_slots_; }
  bool can_write() const override { return !read_only; }
  int32_t num_free_slots() const override { return num_slots_ - static_cast<int32_t>(slots_.size()); }
  // Parents first: a parent is always written before its children.
  std::vector<StoredPage> take_contents() override {
    std::map<uint64_t, StoredPage> by_age;
    for (const auto& [slot, record] : slots_) by_age[record.age] = {slot, record.identity};
    std::vector<StoredPage> contents;
    for (const auto& [age, stored] : by_age) contents.push_back(stored);
    return contents;
  }

  SlotId write(const PageIdentity& identity, PageId page, uint64_t tag) override {
    if (num_free_slots() == 0 || pending_.size() == max_transfers_) return kNoSlot;
    SlotId slot = 0;
    while (slots_.contains(slot)) ++slot;
    Record& record = slots_[slot];
    record.identity = identity;
    record.age = ++age_;
    record.bytes.resize(memory_->page_bytes());
    memory_->copy_out(page, record.bytes);
    pending_.push_back({PageTransfer::Kind::write, true, slot, page, tag});
    ++num_writes;
    return slot;
  }
  bool read(SlotId slot, const PageIdentity& identity, PageId page, uint64_t tag) override {
    if (pending_.size() == max_transfers_) return false;
    const auto found = slots_.find(slot);
    const bool ok = found != slots_.end() && found->second.identity == identity && !found->second.bad;
    pending_.push_back({PageTransfer::Kind::read, ok, slot, page, tag});
    ++num_reads;
    return true;
  }
  void erase(SlotId slot) override {
    for (const PageTransfer& transfer : pending_)
      PAGODA_CHECK(transfer.slot != slot, "slot {} is in use", slot);
    PAGODA_CHECK(slots_.erase(slot) == 1, "slot {} is free", slot);
  }
  size_t poll(std::span<PageTransfer> done) override {
    size_t num_done = 0;
    while (num_done < done.size() && !pending_.empty() && num_may_end > 0) {
      PageTransfer transfer = pending_.front();
      pending_.pop_front();
      --num_may_end;
      transfer.ok = transfer.ok && !failing;
      if (transfer.kind == PageTransfer::Kind::write && !transfer.ok) slots_[transfer.slot].bad = true;
      if (transfer.kind == PageTransfer::Kind::read && transfer.ok)
        memory_->copy_in(transfer.page, slots_[transfer.slot].bytes);
      done[num_done++] = transfer;
    }
    return num_done;
  }

  void wait(int64_t) override {}  // transfers end at poll()
  double seconds_per_read() const override { return read_seconds; }

  // Everything that was durable, for a process that comes after this one.
  void move_contents_to(MemoryPageStore& next) const {
    next.slots_ = slots_;
    for (const PageTransfer& transfer : pending_)
      if (transfer.kind == PageTransfer::Kind::write) next.slots_.erase(transfer.slot);
    next.age_ = age_;
  }
  void damage(SlotId slot) { slots_[slot].bad = true; }
  void damage_all() {
    for (auto& [slot, record] : slots_) record.bad = true;
  }
  size_t num_used() const { return slots_.size(); }

  MemoryPageStore* heir = nullptr;  // has the contents at the end
  double read_seconds = 0;
  bool failing = false;  // transfers do
  bool read_only = false;
  int64_t num_may_end = int64_t{1} << 60;  // transfers that poll() may report
  int64_t num_writes = 0;
  int64_t num_reads = 0;

 private:
  struct Record {
    PageIdentity identity;
    std::vector<std::byte> bytes;
    uint64_t age = 0;
    bool bad = false;
  };
  PageMemory* memory_;
  int32_t num_slots_;
  size_t max_transfers_;
  std::map<SlotId, Record> slots_;
  std::deque<PageTransfer> pending_;
  uint64_t age_ = 0;
};

}  // namespace pagoda::testing
