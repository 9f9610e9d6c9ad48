// Reads the beginnings of many slots, some of them under way at once.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "io/io_queue.h"
#include "kv/disk/segment_files.h"

namespace pagoda {

class SlotReader {
 public:
  // What was read of a slot; `status` tells whether it was. The bytes stay until handle returns.
  using Handle = std::function<void(SlotId slot, const Status& status, std::span<const std::byte> bytes)>;

  // num_bytes: of each slot, header included. Nothing else uses the queue meanwhile.
  static Result<SlotReader> create(const SegmentFiles& segments, IoQueue& queue, size_t num_bytes,
                                   Handle handle);

  // Waits for another slot where as many are under way as there is memory for.
  void read(SlotId slot);
  // Until nothing is under way.
  void finish();

 private:
  SlotReader(const SegmentFiles& segments, IoQueue& queue, size_t num_bytes, Handle handle,
             AlignedBuffer buffer);
  std::span<std::byte> buffer(size_t index);
  void collect();

  const SegmentFiles& segments_;
  IoQueue& queue_;
  size_t num_bytes_;
  Handle handle_;
  AlignedBuffer buffer_;
  std::vector<SlotId> slots_;  // by part of the buffer
  std::vector<size_t> free_;
};

}  // namespace pagoda
