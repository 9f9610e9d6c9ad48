#include "base/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include <sched.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/check.h"
#include "base/cores.h"

namespace pagoda {

namespace {

// A worker takes a quarter of what is left of a slab, so that streams stay long and the ends are even, and at
// least a chunk, of which a slab has this many.
constexpr size_t kChunksPerSlab = 256;
constexpr uint32_t kTakenShare = 4;
constexpr auto kSpinBeforePark = std::chrono::microseconds(200);
constexpr int kSpinsBeforeYield = 2000;

void pause_cpu() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

// A worker's slab as chunk numbers [head, tail) packed in one word: the owner takes from the head, thieves
// from the tail.
struct alignas(128) Slab {
  std::atomic<uint64_t> range{0};
  size_t first_item = 0;
  size_t end_item = 0;
};

size_t items_per_slab_of(size_t num_items, size_t num_workers) {
  return (num_items + num_workers - 1) / num_workers;
}
size_t first_item_of(size_t slab, size_t items_per_slab, size_t num_items) {
  return std::min(slab * items_per_slab, num_items);
}

// What a worker was told to read next. Others than the worker touch `announced` only.
class alignas(128) Ahead {
 public:
  void announce(const std::byte* begin) { announced_.store(begin, std::memory_order_relaxed); }

  // Fetches a little of it, so that a job that comes meanwhile waits for little; false: nothing is left.
  bool fetch_some() {
    const std::byte* begin = announced_.load(std::memory_order_relaxed);
    if (begin != begin_) {
      begin_ = begin;
      done_ = 0;
    }
    if (begin == nullptr || done_ == ThreadPool::kAnnouncedBytes) return false;
    for (size_t line = 0; line < kLines; ++line) __builtin_prefetch(begin + done_ + 64 * line);
    done_ += 64 * kLines;
    return true;
  }

 private:
  static constexpr size_t kLines = 4;
  static_assert(ThreadPool::kAnnouncedBytes % (64 * kLines) == 0);
  std::atomic<const std::byte*> announced_{nullptr};
  const std::byte* begin_ = nullptr;
  size_t done_ = 0;
};

size_t check_num_threads(int num_threads) {
  PAGODA_CHECK(num_threads >= 1, "num_threads = {}", num_threads);
  return static_cast<size_t>(num_threads);
}

constexpr uint64_t pack(uint32_t head, uint32_t tail) {
  return (uint64_t{head} << 32) | tail;
}

// The gate of the current job in one word. A worker that comes late finds it closed and never delays the
// caller, who waits only for those who entered.
struct Gate {
  static constexpr uint64_t kOpen = uint64_t{1} << 16;
  static constexpr uint64_t kActiveMask = kOpen - 1;
  static constexpr int kGenerationShift = 17;
  static uint64_t generation(uint64_t gate) { return gate >> kGenerationShift; }
};

}  // namespace

struct ThreadPool::State {
  Call call = nullptr;
  void* context = nullptr;
  size_t chunk_items = 1;
  std::vector<Slab> slabs;
  std::vector<Ahead> aheads;
  alignas(128) std::atomic<uint64_t> gate{0};
  alignas(128) std::atomic<bool> stop{false};
  std::atomic<int> num_parked{0};
  std::mutex mutex;
  std::condition_variable wake;
  uint64_t wake_epoch = 0;  // guarded by mutex
  std::vector<std::thread> threads;

  explicit State(int num_threads) : slabs(check_num_threads(num_threads)), aheads(slabs.size()) {}

  void run_chunks(const Slab& slab, uint32_t first, uint32_t count, int worker) const {
    const size_t begin = slab.first_item + first * chunk_items;
    call(context, begin, std::min(begin + count * chunk_items, slab.end_item), worker);
  }

  enum class Side { head, tail };

  void drain(Slab& slab, Side side, int worker) {
    uint64_t range = slab.range.load(std::memory_order_acquire);
    for (;;) {
      const auto head = static_cast<uint32_t>(range >> 32);
      const auto tail = static_cast<uint32_t>(range);
      if (head >= tail) return;
      const uint32_t count = std::max<uint32_t>((tail - head) / kTakenShare, 1);
      const uint64_t rest = side == Side::head ? pack(head + count, tail) : pack(head, tail - count);
      if (!slab.range.compare_exchange_weak(range, rest, std::memory_order_acq_rel)) continue;
      run_chunks(slab, side == Side::head ? head : tail - count, count, worker);
      range = slab.range.load(std::memory_order_acquire);
    }
  }

  void work(int worker) {
    const size_t num_workers = slabs.size();
    const auto self = static_cast<size_t>(worker);
    drain(slabs[self], Side::head, worker);
    for (size_t offset = 1; offset < num_workers; ++offset)
      drain(slabs[(self + offset) % num_workers], Side::tail, worker);
  }

  void park(uint64_t seen) {
    std::unique_lock lock(mutex);
    const uint64_t epoch = wake_epoch;
    num_parked.fetch_add(1, std::memory_order_seq_cst);
    wake.wait(lock, [&] {
      return Gate::generation(gate.load(std::memory_order_seq_cst)) != seen ||
             stop.load(std::memory_order_seq_cst) || wake_epoch != epoch;
    });
    num_parked.fetch_sub(1, std::memory_order_seq_cst);
  }

  void thread_main(int worker) {
    uint64_t seen = 0;
    auto park_at = std::chrono::steady_clock::now() + kSpinBeforePark;
    int spins = 0;
    Ahead& ahead = aheads[static_cast<size_t>(worker)];
    while (!stop.load(std::memory_order_acquire)) {
      uint64_t now = gate.load(std::memory_order_acquire);
      if (Gate::generation(now) != seen) {
        seen = Gate::generation(now);
        if (enter(now, seen)) {
          work(worker);
          gate.fetch_sub(1, std::memory_order_acq_rel);
        }
        park_at = std::chrono::steady_clock::now() + kSpinBeforePark;
        continue;
      }
      if (!ahead.fetch_some()) pause_cpu();
      if (++spins < kSpinsBeforeYield) continue;
      spins = 0;
      sched_yield();
      if (std::chrono::steady_clock::now() < park_at) continue;
      park(seen);
      park_at = std::chrono::steady_clock::now() + kSpinBeforePark;
    }
  }

  // Joins the job of this generation; false when it has been closed.
  bool enter(uint64_t now, uint64_t generation) {
    while (Gate::generation(now) == generation && (now & Gate::kOpen) != 0)
      if (gate.compare_exchange_weak(now, now + 1, std::memory_order_acq_rel)) return true;
    return false;
  }

  void wake_parked() {
    if (num_parked.load(std::memory_order_seq_cst) == 0) return;
    {
      std::lock_guard lock(mutex);
      ++wake_epoch;
    }
    wake.notify_all();
  }
};

ThreadPool::ThreadPool(int num_threads)
    : state_(std::make_unique<State>(num_threads)), num_threads_(num_threads) {
  const std::vector<int> cores = usable_cores();
  const bool is_bound = cores.size() == static_cast<size_t>(num_threads);
  for (int worker = 1; worker < num_threads; ++worker) {
    state_->threads.emplace_back([state = state_.get(), worker] { state->thread_main(worker); });
    if (is_bound) bind_thread(state_->threads.back().native_handle(), cores[static_cast<size_t>(worker)]);
  }
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(state_->mutex);
    state_->stop.store(true, std::memory_order_seq_cst);
  }
  state_->wake.notify_all();
  for (std::thread& thread : state_->threads) thread.join();
}

size_t ThreadPool::slab_begin(size_t num_items, int worker) const {
  const size_t items_per_slab = items_per_slab_of(num_items, static_cast<size_t>(num_threads_));
  return first_item_of(static_cast<size_t>(worker), items_per_slab, num_items);
}

void ThreadPool::announce(int worker, const std::byte* begin) noexcept {
  state_->aheads[static_cast<size_t>(worker)].announce(begin);
}

void ThreadPool::wake() {
  state_->wake_parked();
}

void ThreadPool::run(size_t num_items, size_t grain, Call call, void* context) {
  if (num_items == 0) return;
  grain = std::max<size_t>(grain, 1);
  if (num_threads_ == 1 || num_items <= grain) {
    call(context, 0, num_items, 0);
    return;
  }
  State& state = *state_;
  const auto num_workers = static_cast<size_t>(num_threads_);
  const size_t items_per_slab = items_per_slab_of(num_items, num_workers);
  state.call = call;
  state.context = context;
  state.chunk_items = std::max(grain, (items_per_slab + kChunksPerSlab - 1) / kChunksPerSlab);
  for (size_t worker = 0; worker < num_workers; ++worker) {
    Slab& slab = state.slabs[worker];
    slab.first_item = first_item_of(worker, items_per_slab, num_items);
    slab.end_item = first_item_of(worker + 1, items_per_slab, num_items);
    const size_t num_chunks = (slab.end_item - slab.first_item + state.chunk_items - 1) / state.chunk_items;
    slab.range.store(pack(0, static_cast<uint32_t>(num_chunks)), std::memory_order_release);
  }
  const uint64_t generation = Gate::generation(state.gate.load(std::memory_order_relaxed)) + 1;
  state.gate.store((generation << Gate::kGenerationShift) | Gate::kOpen, std::memory_order_seq_cst);
  state.wake_parked();
  state.work(0);
  state.gate.fetch_and(~Gate::kOpen, std::memory_order_acq_rel);
  for (int spins = 0; (state.gate.load(std::memory_order_acquire) & Gate::kActiveMask) != 0; ++spins) {
    if (!state.aheads[0].fetch_some()) pause_cpu();
    if (spins < kSpinsBeforeYield) continue;
    spins = 0;
    sched_yield();
  }
}

}  // namespace pagoda
