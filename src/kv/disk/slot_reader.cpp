#include "kv/disk/slot_reader.h"

#include <algorithm>
#include <array>
#include <utility>

namespace pagoda {

namespace {
// Headers are small and want many reads under way, whole pages are not and do not.
constexpr size_t kBufferBytes = size_t{2} << 20;
constexpr size_t kLeastUnderWay = 16;
}  // namespace

Result<SlotReader> SlotReader::create(const SegmentFiles& segments, IoQueue& queue, size_t num_bytes,
                                      Handle handle) {
  const size_t num_parts = std::max(kBufferBytes / num_bytes, kLeastUnderWay);
  PAGODA_TRY(AlignedBuffer buffer, AlignedBuffer::allocate(num_parts * num_bytes));
  return SlotReader(segments, queue, num_bytes, std::move(handle), std::move(buffer));
}

SlotReader::SlotReader(const SegmentFiles& segments, IoQueue& queue, size_t num_bytes, Handle handle,
                       AlignedBuffer buffer)
    : segments_(segments),
      queue_(queue),
      num_bytes_(num_bytes),
      handle_(std::move(handle)),
      buffer_(std::move(buffer)),
      slots_(buffer_.size() / num_bytes) {
  for (size_t i = 0; i < slots_.size(); ++i) free_.push_back(i);
}

std::span<std::byte> SlotReader::buffer(size_t index) {
  return buffer_.bytes().subspan(index * num_bytes_, num_bytes_);
}

void SlotReader::read(SlotId slot) {
  while (free_.empty()) collect();
  const size_t index = free_.back();
  free_.pop_back();
  slots_[index] = slot;
  const auto [file, offset] = segments_.place(slot);
  queue_.submit({IoRequest::Kind::read, file, offset, buffer(index), index});
}

void SlotReader::finish() {
  while (free_.size() < slots_.size()) collect();
}

void SlotReader::collect() {
  std::array<IoResult, 64> results;
  const size_t count = queue_.wait(results);
  for (const auto& [index, status] : std::span(results).first(count)) {
    handle_(slots_[index], status, buffer(index));
    free_.push_back(index);
  }
}

}  // namespace pagoda
