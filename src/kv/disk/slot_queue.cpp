#include "kv/disk/slot_queue.h"

#include <utility>

#include "base/log.h"

namespace pagoda {

Result<SlotQueue> open_slot_queue(const SegmentFiles& segments, DiskIo io, int num_threads) {
  if (io != DiskIo::threads && segments.has_descriptors()) {
    constexpr unsigned kEntries = 512;  // for the headers at the start; transfers are far fewer
    auto queue = make_uring_io_queue(kEntries);
    if (queue) return SlotQueue{std::move(*queue), true};
    if (io == DiskIo::uring) return std::unexpected(queue.error());
    PAGODA_INFO("kv disk: {}; threads read and write instead", queue.error().message);
  }
  return SlotQueue{make_thread_io_queue(num_threads), false};
}

}  // namespace pagoda
