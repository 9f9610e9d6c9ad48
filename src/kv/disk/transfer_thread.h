// Moves pages between memory and slots, on a thread of its own.
//
//   write:  copy (by the caller)  checksum  [zero the header, sync]  payload  header  sync
//           (in brackets: if the slot's header is not zero)
//   read:   header and payload  check  copy
//
// A sync serves all writes that wait for one.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/clock.h"
#include "io/io_queue.h"
#include "kv/disk/disk_page_store.h"
#include "kv/disk/record.h"
#include "kv/disk/segment_files.h"
#include "kv/disk/slot_table.h"

namespace pagoda {

class TransferThread {
 public:
  struct Order {
    PageTransfer transfer;
    PageIdentity identity;
    SlotTable::Header header = SlotTable::Header::zero;  // what is in the slot, of a write
    size_t job = 0;                                      // begin() says which
  };
  struct Settings {
    Digest fingerprint;
    uint64_t first_generation = 0;
    int depth = 0;
    bool is_writable = true;
    std::function<void()> on_done;
  };

  // All of these outlive it.
  static Result<std::unique_ptr<TransferThread>> start(const SegmentFiles& segments, PageMemory& memory,
                                                       IoQueue& queue, Settings settings);
  // After the transfers under way.
  ~TransferThread();

  // From the owner's thread. At most `depth` orders may be begun and not yet taken. Copies a page that is to
  // be written.
  void begin(Order order);
  size_t take_done(std::span<PageTransfer> done);
  // Returns when take_done() has something, or after that time.
  void wait_done(int64_t max_ns);
  // No order to write will succeed any more.
  bool has_stopped_writing() const { return has_stopped_writing_.load(std::memory_order_relaxed); }
  DiskStoreStats stats() const;

 private:
  enum class Stage { clear, payload, header, read };
  // What an order needs while it is under way; job i has buffer i.
  struct Job {
    Order order;
    Stage stage = Stage::read;
    int64_t start_ns = 0;
    uint32_t crc = 0;
  };
  struct SyncOfFile {
    File* file = nullptr;
    std::vector<size_t> jobs;
  };

  TransferThread(const SegmentFiles& segments, PageMemory& memory, IoQueue& queue, Settings settings,
                 AlignedBuffer buffers);

  void run();
  bool take_orders();
  void start_read(const Order& order);
  void start_write(const Order& order);
  void submit_header(size_t index);
  void submit_payload(size_t index);
  void submit(size_t index, IoRequest::Kind kind, std::span<std::byte> bytes, uint64_t at);
  void start_sync();
  void handle(const IoResult& result);
  void handle_sync(size_t index, const Status& status);
  void advance(size_t index, const Status& status);
  void end_read(size_t index, Status status);
  void end_write(size_t index, const Status& status);
  void count_write_error(const Status& status);
  Status check(size_t index) const;
  void finish(size_t index, bool ok);
  void scrub(SlotId slot);

  std::span<std::byte> buffer(size_t index) const;
  std::span<std::byte> payload(size_t index) const;

  const SegmentFiles& segments_;
  PageMemory& memory_;
  IoQueue& queue_;
  const Settings settings_;
  SteadyClock clock_;

  // A slot for each job, and a header of zeros. A job's is the caller's while it begins, then the thread's.
  mutable AlignedBuffer buffers_;

  // Of the thread alone.
  std::vector<Job> jobs_;
  std::deque<Order> reads_;
  std::deque<Order> writes_;
  std::vector<size_t> unsynced_;   // jobs that wait for a sync to begin
  std::vector<SyncOfFile> syncs_;  // under way
  size_t num_syncs_under_way_ = 0;
  size_t num_under_way_ = 0;  // requests in the queue
  uint64_t generation_ = 0;
  int write_errors_in_a_row_ = 0;
  bool has_warned_of_read_ = false;

  std::atomic<bool> has_stopped_writing_{false};
  mutable std::mutex mutex_;
  std::condition_variable has_done_;
  std::vector<Order> orders_;  // this and what follows: guarded by mutex_
  std::vector<size_t> free_jobs_;
  std::deque<PageTransfer> done_;
  DiskStoreStats stats_;
  bool is_ending_ = false;

  std::thread thread_;
};

}  // namespace pagoda
