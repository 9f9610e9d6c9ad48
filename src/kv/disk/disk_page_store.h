// The PageStore on a disk: fixed slots in preallocated files, found again after a restart or a crash.
//
// What poll() reports as written survives a loss of power. What a slot holds is checked on every read
// (checksums of header and payload, key and tokens); a bad slot is a failed read and is not given out again
// by this process. A disk that is full, fails or cannot be written costs hits, never more: after several
// failed writes in a row there are no free slots any more, and one line in the log.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/file_system.h"
#include "kv/disk/slot_queue.h"
#include "kv/page_store.h"

namespace pagoda {

struct DiskStoreOptions {
  std::string folder;         // is created if need be; of this process alone
  uint64_t bytes = 0;         // of all files together
  Digest fingerprint;         // records of another one are free slots
  std::vector<Digest> roots;  // parents of first pages; records that descend from none of them are free slots
  int queue_depth = 16;       // transfers under way at once; each has a buffer of a page
  uint64_t segment_bytes = uint64_t{256} << 20;  // most of one file
  DiskIo io = DiskIo::automatic;
  std::function<void()> on_done;  // called on the store's thread when poll() has something new; may be empty
};

struct DiskStoreStats {
  uint64_t pages_written = 0;
  uint64_t pages_read = 0;
  uint64_t bytes_written = 0;  // with headers
  uint64_t bytes_read = 0;
  uint64_t write_errors = 0;
  uint64_t read_errors = 0;  // the disk refused, or what it gave was not what had been written
  uint64_t quarantined_slots = 0;
  double write_seconds = 0;  // of all transfers, from begin to end; they overlap
  double read_seconds = 0;
};

class DiskPageStore final : public PageStore {
 public:
  // Reads all headers, which takes a second for some 100,000 slots. `files` and `memory` outlive the store.
  static Result<std::unique_ptr<DiskPageStore>> open(const DiskStoreOptions& options, FileSystem& files,
                                                     PageMemory& memory);
  // Waits for the transfers under way.
  ~DiskPageStore() override;

  int32_t num_slots() const override;
  bool can_write() const override;
  int32_t num_free_slots() const override;
  std::vector<StoredPage> take_contents() override;
  SlotId write(const PageIdentity& identity, PageId page, uint64_t tag) override;
  bool read(SlotId slot, const PageIdentity& identity, PageId page, uint64_t tag) override;
  void erase(SlotId slot) override;
  size_t poll(std::span<PageTransfer> done) override;
  void wait(int64_t max_ns) override;
  double seconds_per_read() const override;

  // Memory for so many transfers at once.
  static uint64_t buffer_bytes(int queue_depth, uint64_t page_bytes);
  bool uses_uring() const;
  // Any thread.
  DiskStoreStats stats() const;

 private:
  struct State;
  explicit DiskPageStore(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace pagoda
