#include "kv/disk/scan.h"

#include <algorithm>
#include <array>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/aligned_buffer.h"

namespace pagoda {

namespace {

struct DigestHash {
  size_t operator()(const Digest& digest) const { return digest.low; }
};

// Headers on their way: one block of memory for each.
class HeaderReader {
 public:
  static constexpr size_t kInFlight = 512;  // 2 MiB, which AlignedBuffer aligns as direct reads want it

  HeaderReader(const SegmentFiles& segments, IoQueue& queue, AlignedBuffer buffer)
      : segments_(segments), queue_(queue), buffer_(std::move(buffer)), slots_(kInFlight) {
    for (size_t i = 0; i < kInFlight; ++i) free_.push_back(i);
  }

  void run(SlotScan& scan) {
    const SlotId end = segments_.end_slot();
    for (SlotId next = 0; next < end || free_.size() < kInFlight;) {
      for (; next < end && !free_.empty(); ++next) {
        if (!segments_.has_slot(next)) continue;
        if (segments_.is_new(next))
          scan.empty.push_back(next);
        else
          start(next);
      }
      if (free_.size() < kInFlight) collect(scan);
    }
  }

 private:
  std::span<std::byte> block(size_t index) {
    return buffer_.bytes().subspan(index * kHeaderBytes, kHeaderBytes);
  }

  void start(SlotId slot) {
    const size_t index = free_.back();
    free_.pop_back();
    slots_[index] = slot;
    const auto [file, offset] = segments_.place(slot);
    queue_.submit({IoRequest::Kind::read, file, offset, block(index), index});
  }

  void collect(SlotScan& scan) {
    std::array<IoResult, 64> results;
    const size_t count = queue_.wait(results);
    for (const auto& [index, status] : std::span(results).first(count)) {
      const SlotId slot = slots_[index];
      free_.push_back(index);
      if (!status)
        scan.unreadable.push_back(slot);
      else if (auto header = decode_header(block(index)))
        scan.records.push_back({slot, *header});
      else
        (is_zero(block(index)) ? scan.empty : scan.other).push_back(slot);
    }
  }

  const SegmentFiles& segments_;
  IoQueue& queue_;
  AlignedBuffer buffer_;
  std::vector<SlotId> slots_;
  std::vector<size_t> free_;
};

}  // namespace

Result<SlotScan> scan_slots(const SegmentFiles& segments, IoQueue& queue) {
  PAGODA_TRY(AlignedBuffer buffer, AlignedBuffer::allocate(HeaderReader::kInFlight * kHeaderBytes));
  SlotScan scan;
  HeaderReader(segments, queue, std::move(buffer)).run(scan);
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
