// What the slots of a folder hold, found by reading their headers.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "io/io_queue.h"
#include "kv/disk/record.h"
#include "kv/disk/segment_files.h"

namespace pagoda {

struct FoundRecord {
  SlotId slot = kNoSlot;
  RecordHeader header;
};

struct SlotScan {
  std::vector<FoundRecord> records;  // by slot
  std::vector<SlotId> empty;         // their headers are zeros
  std::vector<SlotId> other;         // neither: damaged, or of another version
  std::vector<SlotId> unreadable;
};

Result<SlotScan> scan_slots(const SegmentFiles& segments, IoQueue& queue);

// The records of this fingerprint that descend from one of `roots` without a gap, parents before children;
// of several with the same key the newest.
std::vector<FoundRecord> connected_records(std::span<const FoundRecord> records, const Digest& fingerprint,
                                           std::span<const Digest> roots);

}  // namespace pagoda
