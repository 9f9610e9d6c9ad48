#include "kv/disk/transfer_thread.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include <pthread.h>

#include "base/check.h"
#include "base/log.h"
#include "io/crc32c.h"

namespace pagoda {

namespace {

constexpr int kMostWriteErrors = 3;  // in a row
// Tags of requests in the queue: the index of a job, or of a file that is synced plus this, or nobody's.
constexpr uint64_t kSyncTag = uint64_t{1} << 32;
constexpr uint64_t kScrubTag = uint64_t{1} << 33;

}  // namespace

Result<std::unique_ptr<TransferThread>> TransferThread::start(const SegmentFiles& segments,
                                                              PageMemory& memory, IoQueue& queue,
                                                              Settings settings) {
  const uint64_t bytes = static_cast<uint64_t>(settings.depth) * segments.layout().slot_bytes + kHeaderBytes;
  PAGODA_TRY(AlignedBuffer buffers, AlignedBuffer::allocate(bytes));
  std::unique_ptr<TransferThread> thread(
      new TransferThread(segments, memory, queue, std::move(settings), std::move(buffers)));
  thread->thread_ = std::thread([raw = thread.get()] { raw->run(); });
  return thread;
}

TransferThread::TransferThread(const SegmentFiles& segments, PageMemory& memory, IoQueue& queue,
                               Settings settings, AlignedBuffer buffers)
    : segments_(segments),
      memory_(memory),
      queue_(queue),
      settings_(std::move(settings)),
      buffers_(std::move(buffers)),
      jobs_(static_cast<size_t>(settings_.depth)),
      generation_(settings_.first_generation) {
  for (size_t i = jobs_.size(); i-- > 0;) free_jobs_.push_back(i);
}

TransferThread::~TransferThread() {
  {
    const std::lock_guard lock(mutex_);
    is_ending_ = true;
  }
  queue_.wake();
  thread_.join();
}

void TransferThread::begin(Order order) {
  {
    const std::lock_guard lock(mutex_);
    PAGODA_CHECK(!free_jobs_.empty(), "more transfers than buffers");
    order.job = free_jobs_.back();
    free_jobs_.pop_back();
  }
  if (order.transfer.kind == PageTransfer::Kind::write)
    memory_.copy_out(order.transfer.page, payload(order.job));
  {
    const std::lock_guard lock(mutex_);
    orders_.push_back(order);
  }
  queue_.wake();
}

size_t TransferThread::take_done(std::span<PageTransfer> done) {
  const std::lock_guard lock(mutex_);
  const size_t count = std::min(done.size(), done_.size());
  std::copy_n(done_.begin(), count, done.begin());
  done_.erase(done_.begin(), done_.begin() + static_cast<std::ptrdiff_t>(count));
  return count;
}

void TransferThread::wait_done(int64_t max_ns) {
  std::unique_lock lock(mutex_);
  has_done_.wait_for(lock, std::chrono::nanoseconds(max_ns), [&] { return !done_.empty(); });
}

DiskStoreStats TransferThread::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

void TransferThread::run() {
  pthread_setname_np(pthread_self(), "pagoda-kv-disk");
  // One result at a time: between two copies the disk gets its next orders.
  std::array<IoResult, 1> results;
  while (take_orders()) {
    for (; !reads_.empty(); reads_.pop_front()) start_read(reads_.front());
    // One checksum at a time, so that what was read meanwhile is not kept waiting.
    if (!writes_.empty()) {
      start_write(writes_.front());
      writes_.pop_front();
    }
    start_sync();
    if (!writes_.empty()) queue_.wake();
    const size_t count = queue_.wait(results);
    for (const IoResult& result : std::span(results).first(count)) handle(result);
  }
}

// False when all has ended and nothing more will come.
bool TransferThread::take_orders() {
  std::vector<Order> orders;
  bool is_ending = false;
  {
    const std::lock_guard lock(mutex_);
    orders.swap(orders_);
    is_ending = is_ending_;
  }
  for (const Order& order : orders)
    (order.transfer.kind == PageTransfer::Kind::read ? reads_ : writes_).push_back(order);
  return !is_ending || num_under_way_ > 0 || !unsynced_.empty() || !reads_.empty() || !writes_.empty();
}

void TransferThread::submit(size_t index, IoRequest::Kind kind, std::span<std::byte> bytes, uint64_t at) {
  const auto [file, offset] = segments_.place(jobs_[index].order.transfer.slot);
  ++num_under_way_;
  queue_.submit({kind, file, offset + at, bytes, index});
}

void TransferThread::start_read(const Order& order) {
  const size_t index = order.job;
  jobs_[index] = {order, Stage::read, clock_.now_ns(), 0};
  submit(index, IoRequest::Kind::read, buffer(index), 0);
}

void TransferThread::start_write(const Order& order) {
  const size_t index = order.job;
  jobs_[index] = {order, Stage::payload, clock_.now_ns(), 0};
  if (has_stopped_writing()) return finish(index, false);
  const std::span<std::byte> bytes = payload(index);
  std::ranges::fill(buffer(index).subspan(kHeaderBytes + bytes.size()), std::byte{0});
  jobs_[index].crc = crc32c(bytes);
  if (order.header == SlotTable::Header::zero) return submit_payload(index);
  jobs_[index].stage = Stage::clear;
  submit(index, IoRequest::Kind::write, buffers_.bytes().last(kHeaderBytes), 0);
}

void TransferThread::submit_payload(size_t index) {
  jobs_[index].stage = Stage::payload;
  submit(index, IoRequest::Kind::write, buffer(index).subspan(kHeaderBytes), kHeaderBytes);
}

void TransferThread::submit_header(size_t index) {
  Job& job = jobs_[index];
  job.stage = Stage::header;
  const RecordHeader header = {settings_.fingerprint, job.order.identity, segments_.layout().payload_bytes,
                               job.crc, generation_++};
  encode_header(header, buffer(index).first(kHeaderBytes));
  submit(index, IoRequest::Kind::write, buffer(index).first(kHeaderBytes), 0);
}

void TransferThread::start_sync() {
  if (num_syncs_under_way_ > 0 || unsynced_.empty()) return;
  syncs_.clear();
  for (const size_t job : unsynced_) {
    File* file = segments_.place(jobs_[job].order.transfer.slot).file;
    auto sync = std::ranges::find(syncs_, file, &SyncOfFile::file);
    if (sync == syncs_.end()) sync = syncs_.insert(sync, {file, {}});
    sync->jobs.push_back(job);
  }
  unsynced_.clear();
  for (size_t i = 0; i < syncs_.size(); ++i) {
    ++num_under_way_;
    ++num_syncs_under_way_;
    queue_.submit({IoRequest::Kind::sync, syncs_[i].file, 0, {}, kSyncTag + i});
  }
}

void TransferThread::handle(const IoResult& result) {
  --num_under_way_;
  if (result.tag == kScrubTag) return;
  if (result.tag >= kSyncTag)
    handle_sync(result.tag - kSyncTag, result.status);
  else if (jobs_[result.tag].stage == Stage::read)
    end_read(result.tag, result.status);
  else
    advance(result.tag, result.status);
}

void TransferThread::handle_sync(size_t index, const Status& status) {
  --num_syncs_under_way_;
  for (const size_t job : syncs_[index].jobs) {
    if (status && jobs_[job].stage == Stage::clear)
      submit_payload(job);
    else
      end_write(job, status);
  }
}

// A write has come one step further.
void TransferThread::advance(size_t index, const Status& status) {
  if (!status) return end_write(index, status);
  if (jobs_[index].stage == Stage::payload)
    submit_header(index);
  else
    unsynced_.push_back(index);
}

void TransferThread::end_write(size_t index, const Status& status) {
  if (status)
    write_errors_in_a_row_ = 0;
  else
    count_write_error(status);
  finish(index, status.has_value());
}

void TransferThread::count_write_error(const Status& status) {
  if (has_stopped_writing()) return;
  if (++write_errors_in_a_row_ < kMostWriteErrors) {
    PAGODA_WARN("kv disk: {}", status.error().message);
    return;
  }
  has_stopped_writing_ = true;
  PAGODA_WARN("kv disk: {}; after {} failures nothing more is written there, what is there is still read",
              status.error().message, kMostWriteErrors);
}

void TransferThread::end_read(size_t index, Status status) {
  if (status) status = check(index);
  const PageTransfer& transfer = jobs_[index].order.transfer;
  if (status) {
    memory_.copy_in(transfer.page, payload(index));
  } else {
    if (!std::exchange(has_warned_of_read_, true))
      PAGODA_WARN("kv disk: {}; that page is computed again, its slot is not used any more",
                  status.error().message);
    scrub(transfer.slot);
  }
  finish(index, status.has_value());
}

// Whether the buffer holds what the order expects.
Status TransferThread::check(size_t index) const {
  const auto [file, offset] = segments_.place(jobs_[index].order.transfer.slot);
  const auto header = decode_header(buffer(index).first(kHeaderBytes));
  if (!header) return fail(ErrorCode::corrupt, "{}: the header at {} is damaged", file->path(), offset);
  if (header->fingerprint != settings_.fingerprint || header->identity != jobs_[index].order.identity ||
      header->payload_bytes != payload(index).size())
    return fail(ErrorCode::corrupt, "{}: at {} lies another page", file->path(), offset);
  if (header->payload_crc != crc32c(payload(index)))
    return fail(ErrorCode::corrupt, "{}: the page at {} is damaged", file->path(), offset);
  return {};
}

// The next process should not promise what this one could not read. Best effort.
void TransferThread::scrub(SlotId slot) {
  if (!settings_.is_writable || has_stopped_writing()) return;
  const auto [file, offset] = segments_.place(slot);
  ++num_under_way_;
  queue_.submit({IoRequest::Kind::write, file, offset, buffers_.bytes().last(kHeaderBytes), kScrubTag});
}

void TransferThread::finish(size_t index, bool ok) {
  const Job& job = jobs_[index];
  PageTransfer transfer = job.order.transfer;
  transfer.ok = ok;
  const double seconds = static_cast<double>(clock_.now_ns() - job.start_ns) * 1e-9;
  {
    const std::lock_guard lock(mutex_);
    free_jobs_.push_back(index);
    const bool is_write = transfer.kind == PageTransfer::Kind::write;
    (is_write ? stats_.write_seconds : stats_.read_seconds) += seconds;
    if (ok) {
      ++(is_write ? stats_.pages_written : stats_.pages_read);
      (is_write ? stats_.bytes_written : stats_.bytes_read) += segments_.layout().slot_bytes;
    } else {
      ++(is_write ? stats_.write_errors : stats_.read_errors);
      ++stats_.quarantined_slots;
    }
    done_.push_back(transfer);
  }
  has_done_.notify_one();
  if (settings_.on_done) settings_.on_done();
}

std::span<std::byte> TransferThread::buffer(size_t index) const {
  const auto size = static_cast<size_t>(segments_.layout().slot_bytes);
  return buffers_.bytes().subspan(index * size, size);
}

std::span<std::byte> TransferThread::payload(size_t index) const {
  return buffer(index).subspan(kHeaderBytes, static_cast<size_t>(segments_.layout().payload_bytes));
}

}  // namespace pagoda
