// Which slots of the store are free, held or out of use.
#pragma once

#include <cstdint>
#include <vector>

#include "kv/page_store.h"

namespace pagoda {

class SlotTable {
 public:
  explicit SlotTable(int32_t num_slots) : slots_(static_cast<size_t>(num_slots)) {}

  int32_t num_slots() const { return static_cast<int32_t>(slots_.size()); }
  int32_t num_free() const { return static_cast<int32_t>(free_.size()); }

  // What a slot's header on the disk is when the slot is free.
  enum class Header : uint8_t { zero, other };

  // Slots are out of use until one of these was called for them.
  void add_free(SlotId slot, Header header);
  void add_held(SlotId slot);

  struct Taken {
    SlotId slot = kNoSlot;
    Header header = Header::zero;
  };
  // Held and under transfer afterwards. There is a free one.
  Taken take();
  void begin_transfer(SlotId slot);
  // An end that is not `ok`: the slot will be out of use when it is erased.
  void end_transfer(SlotId slot, bool ok);
  void erase(SlotId slot);

 private:
  enum class Use : uint8_t { none, free, held, bad };
  struct Slot {
    Use use = Use::none;
    Header header = Header::other;
    uint16_t num_transfers = 0;
  };
  Slot& at(SlotId slot);

  std::vector<Slot> slots_;
  std::vector<SlotId> free_;  // the last one is next
};

}  // namespace pagoda
