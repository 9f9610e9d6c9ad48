// Compute threads of one engine. Between two jobs of a forward pass the workers spin (a guest's futex wake-up
// costs 30 us, a spin barrier 0.1 us); after a while without work they park. A pool of as many threads as the
// process may use cores binds each but the caller's to a core of its own; a smaller one leaves them free,
// since other work may want any core.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>

namespace pagoda {

class ThreadPool {
 public:
  // `num_threads` counts the calling thread, which takes part in every job as worker 0.
  explicit ThreadPool(int num_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return num_threads_; }

  // Calls body(begin, end, worker) until [0, num_items) is covered exactly once; returns when all calls have.
  // Each worker owns a contiguous slab, cut in chunks of at least `grain` items (the last one of a slab may
  // be shorter); a worker that is done takes chunks from the tail of another's slab, so that a descheduled
  // thread delays nobody for long. Which worker computes an item is not fixed: a body must give the same bits
  // wherever it runs. `worker` is in [0, num_threads) and no two calls with the same worker overlap (it may
  // index per-worker scratch). Allocates nothing. One job at a time; only from the thread that owns the pool.
  template <class Body>
  void parallel_for(size_t num_items, size_t grain, Body&& body) {
    using Plain = std::remove_reference_t<Body>;
    run(
        num_items, grain,
        [](void* context, size_t begin, size_t end, int worker) {
          (*static_cast<Plain*>(context))(begin, end, worker);
        },
        const_cast<void*>(static_cast<const void*>(&body)));
  }

  // The first item of a worker's slab in a job of so many items.
  size_t slab_begin(size_t num_items, int worker) const;

  // A hint, only from the thread that owns the pool: a later job lets `worker` read memory from `begin` on
  // (null: no memory). While it waits for that job it fetches the first kAnnouncedBytes into its cache. They
  // need not exist: what cannot be fetched is not. A new announcement replaces the one before.
  void announce(int worker, const std::byte* begin) noexcept;
  static constexpr size_t kAnnouncedBytes = size_t{128} << 10;

  // Wakes parked workers ahead of need, so that they spin by the time the first job comes.
  void wake();

 private:
  using Call = void (*)(void* context, size_t begin, size_t end, int worker);
  void run(size_t num_items, size_t grain, Call call, void* context);
  struct State;
  std::unique_ptr<State> state_;
  int num_threads_;
};

}  // namespace pagoda
