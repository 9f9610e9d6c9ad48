#include "kv/disk/slot_table.h"

#include "base/check.h"

namespace pagoda {

SlotTable::Slot& SlotTable::at(SlotId slot) {
  PAGODA_CHECK(slot >= 0 && slot < num_slots(), "slot {} of {}", slot, num_slots());
  return slots_[static_cast<size_t>(slot)];
}

void SlotTable::add_free(SlotId slot, Header header) {
  PAGODA_CHECK(at(slot).use == Use::none, "slot {}", slot);
  at(slot) = {Use::free, header, 0};
  free_.push_back(slot);
}

void SlotTable::add_held(SlotId slot) {
  PAGODA_CHECK(at(slot).use == Use::none, "slot {}", slot);
  at(slot) = {Use::held, Header::other, 0};
}

SlotTable::Taken SlotTable::take() {
  PAGODA_CHECK(!free_.empty(), "no slot is free");
  const SlotId slot = free_.back();
  free_.pop_back();
  const Header header = at(slot).header;
  at(slot) = {Use::held, Header::other, 1};
  return {slot, header};
}

void SlotTable::begin_transfer(SlotId slot) {
  PAGODA_CHECK(at(slot).use == Use::held || at(slot).use == Use::bad, "slot {} holds no page", slot);
  ++at(slot).num_transfers;
}

void SlotTable::end_transfer(SlotId slot, bool ok) {
  Slot& entry = at(slot);
  PAGODA_CHECK(entry.num_transfers > 0, "slot {}", slot);
  --entry.num_transfers;
  if (!ok) entry.use = Use::bad;
}

void SlotTable::erase(SlotId slot) {
  Slot& entry = at(slot);
  const bool is_held = entry.use == Use::held || entry.use == Use::bad;
  PAGODA_CHECK(is_held && entry.num_transfers == 0, "slot {} holds no page, or is being used", slot);
  if (entry.use == Use::bad) {
    entry.use = Use::none;
    return;
  }
  entry = {Use::free, Header::other, 0};
  free_.push_back(slot);
}

}  // namespace pagoda
