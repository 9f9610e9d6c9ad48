#include "kv/disk/scan.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "kv/disk/slot_reader.h"

namespace pagoda {

Result<SlotScan> scan_slots(const SegmentFiles& segments, IoQueue& queue) {
  SlotScan scan;
  const auto sort_in = [&](SlotId slot, const Status& status, std::span<const std::byte> header_bytes) {
    if (!status)
      scan.unreadable.push_back(slot);
    else if (auto header = decode_header(header_bytes))
      scan.records.push_back({slot, *header});
    else
      (is_zero(header_bytes) ? scan.empty : scan.other).push_back(slot);
  };
  PAGODA_TRY(SlotReader reader, SlotReader::create(segments, queue, kHeaderBytes, sort_in));
  for (SlotId slot = 0; slot < segments.end_slot(); ++slot) {
    if (!segments.has_slot(slot)) continue;
    if (segments.is_new(slot))
      scan.empty.push_back(slot);
    else
      reader.read(slot);
  }
  reader.finish();
  std::ranges::sort(scan.records, {}, &FoundRecord::slot);
  std::ranges::sort(scan.empty);
  return scan;
}

std::vector<FoundRecord> connected_records(std::span<const FoundRecord> records, const Digest& fingerprint,
                                           std::span<const Digest> roots) {
  std::unordered_map<Digest, const FoundRecord*, DigestHash> newest;
  for (const FoundRecord& record : records) {
    if (record.header.fingerprint != fingerprint) continue;
    const FoundRecord*& entry = newest[record.header.identity.key];
    if (entry == nullptr || entry->header.generation < record.header.generation) entry = &record;
  }
  std::unordered_map<Digest, std::vector<const FoundRecord*>, DigestHash> children;
  for (const auto& [key, record] : newest) children[record->header.identity.parent].push_back(record);
  for (auto& [parent, list] : children)
    std::ranges::sort(list, {}, [](const FoundRecord* record) { return record->header.generation; });
  std::vector<FoundRecord> result;
  std::unordered_set<Digest, DigestHash> seen;  // a key that is its own ancestor must not go round for ever
  std::vector<Digest> parents(roots.begin(), roots.end());
  for (size_t next = 0; next < parents.size(); ++next) {
    if (!seen.insert(parents[next]).second) continue;
    const auto found = children.find(parents[next]);
    if (found == children.end()) continue;
    for (const FoundRecord* record : found->second) {
      result.push_back(*record);
      parents.push_back(record->header.identity.key);
    }
  }
  return result;
}

}  // namespace pagoda
