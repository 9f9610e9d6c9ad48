// Memory for KV pages, had from the system before they are written. A pool's memory comes when it is first
// touched, 2 MiB at a time, and where a virtual machine's host must give it first, each takes milliseconds. A
// cluster's pages lie all over its bytes, so that the first of them would wait for many such pieces.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/thread_pool.h"
#include "kv/kv_pool.h"

namespace pagoda {

// Goes through the pool once; what it commits grows as evenly as the pages that are used. Holds no memory
// itself; the engine thread owns it.
class PoolCommitter {
 public:
  // `pool` must outlive it.
  explicit PoolCommitter(const KvPool& pool) : pool_(&pool) {}

  // Pages ahead of those in use that must be asked for to find memory when they are written: what a step
  // takes at once, half a cluster by default, and what remains of the last one's cluster.
  static constexpr int32_t kReservePages = 2 * kClusterPages;
  // Pieces to commit until it has got to `end_page`.
  size_t num_missing(int32_t end_page) const;
  // The next pieces, at most num_missing(end_page). Where the system cannot commit, nothing is missing
  // after.
  void commit(size_t num_pieces, ThreadPool& threads);

 private:
  const KvPool* pool_;
  size_t next_ = 0;  // piece
};

}  // namespace pagoda
