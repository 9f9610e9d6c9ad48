// What the user's side of a store knows: its slots, how many transfers are under way, how fast reads come
// back.
#pragma once

#include <cstdint>
#include <optional>

#include "kv/disk/read_rate.h"
#include "kv/disk/slot_table.h"
#include "kv/page_store.h"

namespace pagoda {

// Times of any clock.
class TransferLedger {
 public:
  static constexpr int kLeastDepth = 2;

  // depth: transfers under way at once, at least kLeastDepth.
  TransferLedger(int32_t num_slots, int depth);

  SlotTable& slots() { return slots_; }
  const SlotTable& slots() const { return slots_; }
  int depth() const { return depth_; }

  // Takes a free slot. None where there is none, or as many writes are under way as may be: half of the depth
  // is for reads alone.
  std::optional<SlotTable::Taken> begin_write();
  // False where as many transfers are under way as may be; then nothing happened.
  bool begin_read(SlotId slot, int64_t now_ns);
  void end(const PageTransfer& transfer, int64_t now_ns);

  // PageStore::seconds_per_read().
  double seconds_per_read() const { return read_rate_.seconds_per_page(); }

 private:
  SlotTable slots_;
  ReadRate read_rate_;
  int depth_;
  int num_under_way_ = 0;
  int num_writes_under_way_ = 0;
};

}  // namespace pagoda
