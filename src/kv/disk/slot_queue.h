// The queue through which a folder's slots are read and written.
#pragma once

#include <memory>

#include "base/result.h"
#include "io/io_queue.h"
#include "kv/disk/segment_files.h"

namespace pagoda {

// How the system is asked to read and write.
enum class DiskIo {
  automatic,  // by io_uring where the kernel lets us, else by threads
  uring,
  threads,
};

struct SlotQueue {
  std::unique_ptr<IoQueue> queue;
  bool is_uring = false;
};

// num_threads: where io_uring does not serve. An error only where `io` asks for io_uring and there is none.
Result<SlotQueue> open_slot_queue(const SegmentFiles& segments, DiskIo io, int num_threads);

inline constexpr int kMostIoThreads = 8;

}  // namespace pagoda
