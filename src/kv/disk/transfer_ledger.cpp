#include "kv/disk/transfer_ledger.h"

#include <algorithm>

namespace pagoda {

TransferLedger::TransferLedger(int32_t num_slots, int depth)
    : slots_(num_slots), depth_(std::max(depth, kLeastDepth)) {}

std::optional<SlotTable::Taken> TransferLedger::begin_write() {
  if (num_under_way_ == depth_ || num_writes_under_way_ == depth_ / 2) return std::nullopt;
  if (slots_.num_free() == 0) return std::nullopt;
  ++num_under_way_;
  ++num_writes_under_way_;
  return slots_.take();
}

bool TransferLedger::begin_read(SlotId slot, int64_t now_ns) {
  if (num_under_way_ == depth_) return false;
  slots_.begin_transfer(slot);
  read_rate_.begin(now_ns);
  ++num_under_way_;
  return true;
}

void TransferLedger::end(const PageTransfer& transfer, int64_t now_ns) {
  slots_.end_transfer(transfer.slot, transfer.ok);
  --num_under_way_;
  if (transfer.kind == PageTransfer::Kind::write)
    --num_writes_under_way_;
  else
    read_rate_.end(now_ns);
}

}  // namespace pagoda
