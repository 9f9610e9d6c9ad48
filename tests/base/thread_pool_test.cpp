// What the pool promises, with rendezvous instead of timing: a promise that is broken shows as a hang, which
// ctest's time limit ends, or as a count.
#include "base/thread_pool.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <sched.h>

namespace pagoda {
namespace {

// Long enough that workers without work have parked.
void let_workers_park() {
  std::this_thread::sleep_for(std::chrono::milliseconds(3));
}

// Counts how often each item was given out, and what breaks the other rules of parallel_for.
class Recorder {
 public:
  Recorder(size_t num_items, int num_threads) : counts_(num_items), busy_(static_cast<size_t>(num_threads)) {}

  void operator()(size_t begin, size_t end, int worker) {
    const int call = num_calls_.fetch_add(1);
    if (begin >= end || end > counts_.size() || worker < 0 || worker >= static_cast<int>(busy_.size())) {
      ++num_bad_calls_;
      return;
    }
    std::atomic<int>& busy = busy_[static_cast<size_t>(worker)];
    if (busy.fetch_add(1) != 0) ++num_overlaps_;
    if (call % 8 == 0)
      std::this_thread::yield();  // lets threads meet in the job on a machine of few cores, too
    for (size_t item = begin; item < end; ++item) counts_[item].fetch_add(1, std::memory_order_relaxed);
    busy.fetch_sub(1);
  }

  // Every item once, no bad range, no two calls of a worker at a time.
  std::string problems() const {
    size_t num_wrong = 0;
    for (const auto& count : counts_) num_wrong += count.load() != 1;
    if (num_wrong == 0 && num_bad_calls_ == 0 && num_overlaps_ == 0) return "";
    return std::to_string(num_wrong) + " items not given out once, " + std::to_string(num_bad_calls_) +
           " bad calls, " + std::to_string(num_overlaps_) + " overlapping calls of a worker";
  }
  int num_calls() const { return num_calls_; }

 private:
  std::vector<std::atomic<int>> counts_;
  std::vector<std::atomic<int>> busy_;
  std::atomic<int> num_calls_{0};
  std::atomic<int> num_bad_calls_{0};
  std::atomic<int> num_overlaps_{0};
};

// Returns when `target` calls wait in it.
class Rendezvous {
 public:
  explicit Rendezvous(int target) : target_(target) {}
  void arrive_and_wait() {
    num_arrived_.fetch_add(1);
    while (num_arrived_.load() < target_) std::this_thread::yield();
  }

 private:
  int target_;
  std::atomic<int> num_arrived_{0};
};

class ThreadPoolTest : public ::testing::TestWithParam<int> {
 protected:
  // A job that ends only if every worker takes part: each call waits for a call of every other worker.
  static void meet_all(ThreadPool& pool) {
    const auto num_threads = static_cast<size_t>(pool.num_threads());
    Rendezvous rendezvous(pool.num_threads());
    std::vector<std::atomic<int>> calls_of(num_threads);
    pool.parallel_for(num_threads, 1, [&](size_t, size_t, int worker) {
      calls_of[static_cast<size_t>(worker)].fetch_add(1);
      rendezvous.arrive_and_wait();
    });
    for (const auto& calls : calls_of) EXPECT_EQ(calls.load(), 1);
  }
};

class ThreadPoolStealTest : public ThreadPoolTest {};

TEST_P(ThreadPoolTest, CoversEveryItemOnce) {
  ThreadPool pool(GetParam());
  ASSERT_EQ(pool.num_threads(), GetParam());
  std::vector<size_t> sizes = {63, 64, 65, 100, 255, 256, 257, 1000, 4093};
  for (size_t size = 0; size <= 40; ++size) sizes.push_back(size);
  for (const size_t size : sizes)
    for (const size_t grain :
         {size_t{0}, size_t{1}, size_t{2}, size_t{3}, size_t{7}, size_t{16}, size_t{1000}, SIZE_MAX / 2}) {
      Recorder recorder(size, GetParam());
      pool.parallel_for(size, grain, recorder);
      ASSERT_EQ(recorder.problems(), "") << size << " items, grain " << grain;
    }
}

TEST_P(ThreadPoolTest, CutsChunksOfTheGrainOrMore) {
  ThreadPool pool(GetParam());
  for (const size_t size : {size_t{40}, size_t{333}, size_t{5000}})
    for (const size_t grain : {size_t{1}, size_t{4}, size_t{10}}) {
      std::atomic<int> num_short{0};
      std::atomic<int> num_calls{0};
      pool.parallel_for(size, grain, [&](size_t begin, size_t end, int) {
        ++num_calls;
        if (end - begin < grain) ++num_short;
      });
      EXPECT_LE(num_short, GetParam()) << "only a slab's last chunk may be short: " << size << ", " << grain;
      EXPECT_LE(num_calls, static_cast<int>(size / grain) + GetParam());
    }
}

TEST_P(ThreadPoolTest, SaysWhereAWorkersSlabBegins) {
  ThreadPool pool(GetParam());
  const auto num_threads = static_cast<size_t>(GetParam());
  for (const size_t size : {num_threads, size_t{40}, size_t{333}}) {
    Rendezvous rendezvous(GetParam());
    std::vector<std::atomic<size_t>> first_of(num_threads);
    for (auto& first : first_of) first = SIZE_MAX;
    pool.parallel_for(size, 1, [&](size_t begin, size_t, int worker) {
      size_t none = SIZE_MAX;
      if (first_of[static_cast<size_t>(worker)].compare_exchange_strong(none, begin))
        rendezvous.arrive_and_wait();  // nobody takes from another's slab before all have begun their own
    });
    for (int worker = 0; worker < GetParam(); ++worker)
      EXPECT_EQ(pool.slab_begin(size, worker),
                num_threads == 1 ? 0 : first_of[static_cast<size_t>(worker)].load());
    EXPECT_EQ(pool.slab_begin(size, GetParam()), size);
  }
}

// What is announced need not exist: a worker asks for it while it waits, and then for the next.
TEST_P(ThreadPoolTest, TakesAnyAnnouncement) {
  ThreadPool pool(GetParam());
  const std::vector<std::byte> some(3 * ThreadPool::kAnnouncedBytes);
  const std::byte* const places[] = {some.data(), nullptr,
                                     reinterpret_cast<const std::byte*>(size_t{1} << 45), some.data() + 1};
  for (int round = 0; round < 50; ++round) {
    for (int worker = 0; worker < GetParam(); ++worker)
      pool.announce(worker, places[static_cast<size_t>(round + worker) % std::size(places)]);
    meet_all(pool);
  }
}

TEST_P(ThreadPoolTest, CallsNothingForNoItems) {
  ThreadPool pool(GetParam());
  Recorder recorder(0, GetParam());
  pool.parallel_for(0, 1, recorder);
  EXPECT_EQ(recorder.num_calls(), 0);
}

TEST_P(ThreadPoolTest, RunsAJobOfOneGrainOnTheCaller) {
  ThreadPool pool(GetParam());
  const auto caller = std::this_thread::get_id();
  std::thread::id ran_on;
  int worker_of_it = -1;
  pool.parallel_for(16, 16, [&](size_t begin, size_t end, int worker) {
    EXPECT_EQ(end - begin, 16u);
    ran_on = std::this_thread::get_id();
    worker_of_it = worker;
  });
  EXPECT_EQ(ran_on, caller);
  EXPECT_EQ(worker_of_it, 0);
}

TEST_P(ThreadPoolTest, GivesOutItemNumbersBeyond32Bits) {
  ThreadPool pool(GetParam());
  constexpr size_t kItems = (size_t{1} << 40) + 12345;
  std::atomic<size_t> num_items{0};
  std::atomic<size_t> squares{0};  // of the ends less those of the beginnings, modulo 2^64
  pool.parallel_for(kItems, 1, [&](size_t begin, size_t end, int) {
    num_items += end - begin;
    squares += end * end - begin * begin;
  });
  EXPECT_EQ(num_items.load(), kItems);
  EXPECT_EQ(squares.load(), kItems * kItems);
}

TEST_P(ThreadPoolTest, ShowsAJobsWritesToTheCallerAndToTheNextJob) {
  ThreadPool pool(GetParam());
  std::vector<uint64_t> values(997, 1);
  std::vector<uint64_t> sums(997);
  for (int round = 0; round < 200; ++round) {
    pool.parallel_for(values.size(), 5, [&](size_t begin, size_t end, int) {
      for (size_t i = begin; i < end; ++i) sums[i] = values[i] + values[values.size() - 1 - i];
    });
    pool.parallel_for(values.size(), 3, [&](size_t begin, size_t end, int) {
      for (size_t i = begin; i < end; ++i) values[i] = sums[i] % 1'000'003;
    });
  }
  uint64_t expected = 1;
  for (int round = 0; round < 200; ++round) expected = 2 * expected % 1'000'003;
  for (const uint64_t value : values) ASSERT_EQ(value, expected);
}

TEST_P(ThreadPoolTest, SurvivesManyShortJobs) {
  ThreadPool pool(GetParam());
  constexpr size_t kItems = 37;
  uint64_t expected = 0;
  std::vector<uint64_t> per_worker(static_cast<size_t>(GetParam()) * 16);  // on cache lines of their own
  for (uint64_t job = 0; job < 5000; ++job) {
    const size_t size = 1 + job % kItems;
    pool.parallel_for(size, 1 + job % 3, [&](size_t begin, size_t end, int worker) {
      if (job % 8 == 0) std::this_thread::yield();
      for (size_t i = begin; i < end; ++i) per_worker[static_cast<size_t>(worker) * 16] += job * kItems + i;
    });
    for (size_t i = 0; i < size; ++i) expected += job * kItems + i;
  }
  uint64_t sum = 0;
  for (const uint64_t part : per_worker) sum += part;
  EXPECT_EQ(sum, expected);
}

TEST_P(ThreadPoolTest, WakesEveryParkedWorkerForAJob) {
  ThreadPool pool(GetParam());
  for (int round = 0; round < 20; ++round) {
    let_workers_park();
    meet_all(pool);
  }
}

TEST_P(ThreadPoolTest, MayBeWokenAtAnyTime) {
  ThreadPool pool(GetParam());
  pool.wake();
  meet_all(pool);
  for (int round = 0; round < 20; ++round) {
    let_workers_park();
    pool.wake();
    pool.wake();
    if (round % 2 == 0) let_workers_park();
    meet_all(pool);
  }
}

TEST_P(ThreadPoolTest, EndsWhileWorkersSpinOrPark) {
  for (int round = 0; round < 20; ++round) {
    ThreadPool pool(GetParam());
    if (round % 2 == 0) meet_all(pool);
    if (round % 4 < 2) let_workers_park();
  }
}

// The call that has the stalled item waits for all items but those of its own chunk: the job ends only if
// others take the rest of its slab.
TEST_P(ThreadPoolStealTest, StealsTheSlabOfAStalledWorker) {
  ThreadPool pool(GetParam());
  constexpr size_t kItems = 64;
  for (size_t stalled = 0; stalled < kItems; ++stalled) {
    std::atomic<size_t> num_done{0};
    pool.parallel_for(kItems, 1, [&](size_t begin, size_t end, int) {
      if (begin <= stalled && stalled < end)
        while (num_done.load() < kItems - (end - begin)) std::this_thread::yield();
      num_done += end - begin;
    });
    ASSERT_EQ(num_done.load(), kItems);
  }
}

TEST_P(ThreadPoolTest, TakesBodiesOfEveryKind) {
  ThreadPool pool(GetParam());
  std::atomic<size_t> num_items{0};
  const auto constant = [&](size_t begin, size_t end, int) { num_items += end - begin; };
  pool.parallel_for(10, 1, constant);
  auto changeable = [&num_items, calls = std::atomic<int>(0)](size_t begin, size_t end, int) mutable {
    ++calls;
    num_items += end - begin;
  };
  pool.parallel_for(10, 1, changeable);
  EXPECT_EQ(num_items.load(), 20u);
}

TEST_P(ThreadPoolTest, PoolsDoNotDisturbEachOther) {
  std::vector<std::jthread> owners;
  std::vector<std::string> problems(3);
  for (size_t owner = 0; owner < problems.size(); ++owner)
    owners.emplace_back([&problem = problems[owner], num_threads = GetParam()] {
      ThreadPool pool(num_threads);
      for (size_t size = 1; size < 100 && problem.empty(); ++size) {
        Recorder recorder(size, num_threads);
        pool.parallel_for(size, 2, recorder);
        problem = recorder.problems();
      }
    });
  owners.clear();
  for (const std::string& problem : problems) EXPECT_EQ(problem, "");
}

INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolTest, ::testing::Values(1, 2, 3, 4));
INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolStealTest, ::testing::Values(2, 3, 4));

cpu_set_t cores_of_this_thread() {
  cpu_set_t cores;
  sched_getaffinity(0, sizeof cores, &cores);
  return cores;
}

// How many cores each worker may use; all of them meet in one job.
std::vector<int> num_cores_of_workers(int num_threads) {
  ThreadPool pool(num_threads);
  std::vector<int> num_cores(static_cast<size_t>(num_threads));
  std::atomic<int> num_present = 0;
  pool.parallel_for(num_cores.size(), 1, [&](size_t, size_t, int worker) {
    ++num_present;
    while (num_present < num_threads) std::this_thread::yield();
    const cpu_set_t cores = cores_of_this_thread();
    num_cores[static_cast<size_t>(worker)] = CPU_COUNT(&cores);
  });
  return num_cores;
}

TEST(ThreadPool, WorkersOfAFullPoolHaveACoreOfTheirOwn) {
  const cpu_set_t before = cores_of_this_thread();
  const int usable = CPU_COUNT(&before);
  std::vector<int> want(static_cast<size_t>(usable), 1);
  want[0] = usable;
  EXPECT_EQ(num_cores_of_workers(usable), want);
  const cpu_set_t after = cores_of_this_thread();
  EXPECT_TRUE(CPU_EQUAL(&before, &after));
}

TEST(ThreadPool, WorkersOfOtherPoolsRunAnywhere) {
  const cpu_set_t cores = cores_of_this_thread();
  const int usable = CPU_COUNT(&cores);
  EXPECT_EQ(num_cores_of_workers(usable + 1), std::vector<int>(static_cast<size_t>(usable + 1), usable));
}

TEST(ThreadPoolDeathTest, NeedsAThread) {
  EXPECT_DEATH(ThreadPool(0), "num_threads = 0");
  EXPECT_DEATH(ThreadPool(-1), "num_threads = -1");
}

}  // namespace
}  // namespace pagoda
