#include "kv/disk/disk_page_store.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "kv/disk/scan.h"
#include "kv/disk/segment_files.h"
#include "kv/disk/slot_queue.h"
#include "kv/disk/slot_table.h"
#include "kv/disk/transfer_ledger.h"
#include "kv/disk/transfer_thread.h"

namespace pagoda {

namespace {

Result<std::unique_ptr<FileLock>> lock_folder(FileSystem& files, const std::string& folder) {
  PAGODA_TRY_STATUS(files.create_folder(folder));
  PAGODA_TRY(std::unique_ptr<FileLock> lock, lock_page_folder(files, folder));
  if (lock == nullptr) return fail(ErrorCode::io, kFolderInUse, folder);
  return lock;
}

}  // namespace

// Members end in reverse order: the thread first, the lock last.
struct DiskPageStore::State {
  State(std::unique_ptr<FileLock> folder_lock, SegmentFiles segment_files, SlotQueue slot_queue, int depth)
      : lock(std::move(folder_lock)),
        segments(std::move(segment_files)),
        queue(std::move(slot_queue.queue)),
        is_uring(slot_queue.is_uring),
        ledger(segments.end_slot(), depth) {}

  // Fills the table and `contents` from the headers; gives the generation of the next record.
  Result<uint64_t> index(const DiskStoreOptions& options);

  std::unique_ptr<FileLock> lock;
  SegmentFiles segments;
  std::unique_ptr<IoQueue> queue;
  bool is_uring;
  TransferLedger ledger;
  std::vector<StoredPage> contents;
  SteadyClock clock;
  std::unique_ptr<TransferThread> thread;
};

Result<uint64_t> DiskPageStore::State::index(const DiskStoreOptions& options) {
  const int64_t start_ns = clock.now_ns();
  PAGODA_TRY(const SlotScan scan, scan_slots(segments, *queue));
  const std::vector<FoundRecord> found = connected_records(scan.records, options.fingerprint, options.roots);
  SlotTable& slots = ledger.slots();
  std::vector<bool> is_held(static_cast<size_t>(segments.end_slot()));
  contents.reserve(found.size());
  for (const FoundRecord& record : found) {
    slots.add_held(record.slot);
    contents.push_back({record.slot, record.header.identity});
    is_held[static_cast<size_t>(record.slot)] = true;
  }
  uint64_t generation = 0;
  for (const FoundRecord& record : scan.records) {
    generation = std::max(generation, record.header.generation + 1);
    if (!is_held[static_cast<size_t>(record.slot)]) slots.add_free(record.slot, SlotTable::Header::other);
  }
  for (const SlotId slot : scan.other) slots.add_free(slot, SlotTable::Header::other);
  // The table gives out the last one first: from the front of the first file.
  for (size_t i = scan.empty.size(); i-- > 0;) slots.add_free(scan.empty[i], SlotTable::Header::zero);
  PAGODA_INFO("kv disk: {}: {} pages found, room for {} (looked through in {:.3f} s; {} slots unreadable)",
              options.folder, contents.size(), slots.num_slots(),
              static_cast<double>(clock.now_ns() - start_ns) * 1e-9, scan.unreadable.size());
  return generation;
}

Result<std::unique_ptr<DiskPageStore>> DiskPageStore::open(const DiskStoreOptions& options, FileSystem& files,
                                                           PageMemory& memory) {
  PAGODA_TRY(const SegmentLayout layout,
             SegmentLayout::plan(options.bytes, options.segment_bytes, memory.page_bytes()));
  PAGODA_TRY(std::unique_ptr<FileLock> lock, lock_folder(files, options.folder));
  PAGODA_TRY(SegmentFiles segments, SegmentFiles::open(files, options.folder, layout));
  PAGODA_TRY(SlotQueue queue,
             open_slot_queue(segments, options.io,
                             std::clamp(options.queue_depth, TransferLedger::kLeastDepth, kMostIoThreads)));
  auto state =
      std::make_unique<State>(std::move(lock), std::move(segments), std::move(queue), options.queue_depth);
  PAGODA_TRY(const uint64_t generation, state->index(options));
  PAGODA_TRY(state->thread, TransferThread::start(state->segments, memory, *state->queue,
                                                  {options.fingerprint, generation, state->ledger.depth(),
                                                   state->segments.is_writable(), options.on_done}));
  return std::unique_ptr<DiskPageStore>(new DiskPageStore(std::move(state)));
}

DiskPageStore::DiskPageStore(std::unique_ptr<State> state) : state_(std::move(state)) {}
DiskPageStore::~DiskPageStore() = default;

int32_t DiskPageStore::num_slots() const {
  return state_->ledger.slots().num_slots();
}

bool DiskPageStore::can_write() const {
  return state_->segments.is_writable() && !state_->thread->has_stopped_writing();
}

int32_t DiskPageStore::num_free_slots() const {
  return can_write() ? state_->ledger.slots().num_free() : 0;
}

std::vector<StoredPage> DiskPageStore::take_contents() {
  return std::exchange(state_->contents, {});
}

SlotId DiskPageStore::write(const PageIdentity& identity, PageId page, uint64_t tag) {
  if (!can_write()) return kNoSlot;
  const auto taken = state_->ledger.begin_write();
  if (!taken) return kNoSlot;
  state_->thread->begin(
      {{PageTransfer::Kind::write, false, taken->slot, page, tag}, identity, taken->header});
  return taken->slot;
}

bool DiskPageStore::read(SlotId slot, const PageIdentity& identity, PageId page, uint64_t tag) {
  if (!state_->ledger.begin_read(slot, state_->clock.now_ns())) return false;
  state_->thread->begin(
      {{PageTransfer::Kind::read, false, slot, page, tag}, identity, SlotTable::Header::other});
  return true;
}

void DiskPageStore::erase(SlotId slot) {
  state_->ledger.slots().erase(slot);
}

size_t DiskPageStore::poll(std::span<PageTransfer> done) {
  const size_t count = state_->thread->take_done(done);
  for (const PageTransfer& transfer : done.first(count)) state_->ledger.end(transfer, state_->clock.now_ns());
  return count;
}

void DiskPageStore::wait(int64_t max_ns) {
  state_->thread->wait_done(max_ns);
}

double DiskPageStore::seconds_per_read() const {
  return state_->ledger.seconds_per_read();
}

uint64_t DiskPageStore::buffer_bytes(int queue_depth, uint64_t page_bytes) {
  return static_cast<uint64_t>(std::max(queue_depth, TransferLedger::kLeastDepth)) *
             slot_bytes_of(page_bytes) +
         kHeaderBytes;
}

bool DiskPageStore::uses_uring() const {
  return state_->is_uring;
}

DiskStoreStats DiskPageStore::stats() const {
  return state_->thread->stats();
}

}  // namespace pagoda
