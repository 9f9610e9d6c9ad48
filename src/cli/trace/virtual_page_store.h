// A store of pages whose disk takes virtual time. What it admits and refuses, and how it learns how fast
// reads are, is DiskPageStore's own code (transfer_ledger.h); only the transfers themselves are not real.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "cli/trace/disk_model.h"
#include "cli/trace/timeline.h"
#include "kv/disk/transfer_ledger.h"
#include "kv/page_store.h"

namespace pagoda {

// One disk for both ways: it moves a page after the other, each after its latency.
class VirtualPageStore final : public PageStore {
 public:
  // `bytes`: of the disk, which has room for as many pages of disk.page_bytes as with DiskPageStore; what is
  // kept here is memory's own pages, however small. Starts empty. `memory` and `timeline` outlive it.
  static Result<std::unique_ptr<VirtualPageStore>> create(const DiskModel& disk, uint64_t bytes,
                                                          PageMemory& memory, Timeline& timeline);

  int32_t num_slots() const override { return ledger_.slots().num_slots(); }
  bool can_write() const override { return true; }
  int32_t num_free_slots() const override { return ledger_.slots().num_free(); }
  std::vector<StoredPage> take_contents() override { return {}; }
  SlotId write(const PageIdentity& identity, PageId page, uint64_t tag) override;
  bool read(SlotId slot, const PageIdentity& identity, PageId page, uint64_t tag) override;
  void erase(SlotId slot) override { ledger_.slots().erase(slot); }
  size_t poll(std::span<PageTransfer> done) override;
  // Lets time pass.
  void wait(int64_t max_ns) override;
  double seconds_per_read() const override { return ledger_.seconds_per_read(); }

  // When the next transfer ends that poll() has not reported; none if nothing is under way.
  std::optional<int64_t> next_end_ns() const;

 private:
  struct Pending {
    PageTransfer transfer;
    int64_t end_ns = 0;
  };
  struct Record {
    PageIdentity identity;
    std::vector<std::byte> bytes;
  };

  VirtualPageStore(const DiskModel& disk, int32_t num_slots, PageMemory& memory, Timeline& timeline);
  void begin(PageTransfer transfer, const DiskWay& way);

  const DiskModel disk_;
  PageMemory& memory_;
  Timeline& timeline_;
  TransferLedger ledger_;
  std::vector<Record> records_;   // by slot
  std::vector<Pending> pending_;  // in the order of their ends
  int64_t free_ns_ = 0;           // the disk has moved all that was begun
};

}  // namespace pagoda
