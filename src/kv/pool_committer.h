// Memory for KV pages, had from the system before they are written. A pool's memory comes when it is first
// touched, 2 MiB at a time, and where a virtual machine's host must give it first, each takes milliseconds.
// All layers' regions fill alike, so that one token would wait for as many such pieces as there are layers.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/thread_pool.h"
#include "kv/kv_pool.h"

namespace pagoda {

// Goes through the pool once: a piece of the first layer, the same piece of the next, …; so what it commits
// grows as evenly as the pages that are used. Holds no memory itself; the engine thread owns it.
class PoolCommitter {
 public:
  // `pool` must outlive it.
  explicit PoolCommitter(const KvPool& pool) : pool_(&pool) {}

  // Pages ahead of those in use that must be asked for to find memory when they are written: a piece of each
  // layer, and what a step takes at once.
  int32_t reserve_pages() const;
  // Pieces to commit until it has got to `end_page`.
  size_t num_missing(int32_t end_page) const;
  // The next pieces, at most num_missing(end_page). Where the system cannot commit, nothing is missing
  // after.
  void commit(size_t num_pieces, ThreadPool& threads);

 private:
  size_t num_pieces() const;

  const KvPool* pool_;
  size_t next_ = 0;  // piece x layers + layer
};

}  // namespace pagoda
