#include "kv/disk/page_folder.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/aligned_buffer.h"
#include "io/crc32c.h"
#include "io/io_queue.h"
#include "kv/disk/scan.h"
#include "kv/disk/segment_files.h"
#include "kv/page_chain.h"

namespace pagoda {

namespace {

std::unique_ptr<IoQueue> make_queue(const SegmentFiles& segments) {
  constexpr unsigned kEntries = 512;
  constexpr int kThreads = 8;
  if (segments.has_descriptors())
    if (auto queue = make_uring_io_queue(kEntries)) return std::move(*queue);
  return make_thread_io_queue(kThreads);
}

Result<std::vector<std::string>> segment_paths(FileSystem& files, const std::string& folder) {
  PAGODA_TRY(const std::vector<std::string> names, files.list(folder));
  std::vector<std::string> paths;
  for (const std::string& name : names)
    if (segment_number(name) >= 0) paths.push_back(folder + "/" + name);
  if (paths.empty()) return fail(ErrorCode::not_found, "{}: there is no KV cache", folder);
  return paths;
}

Result<std::unique_ptr<FileLock>> lock_idle_folder(FileSystem& files, const std::string& folder) {
  PAGODA_TRY(std::unique_ptr<FileLock> lock, lock_page_folder(files, folder));
  if (lock == nullptr) return fail(ErrorCode::io, "{}: a running process uses it; stop that first", folder);
  return lock;
}

// Reads whole slots and says what is wrong with them.
class RecordChecker {
 public:
  static constexpr size_t kInFlight = 16;

  RecordChecker(const SegmentFiles& segments, IoQueue& queue, AlignedBuffer buffers)
      : segments_(segments), queue_(queue), buffers_(std::move(buffers)), records_(kInFlight) {
    for (size_t i = 0; i < kInFlight; ++i) free_.push_back(i);
  }

  void run(std::span<const FoundRecord> records, PageFolderCheck& check,
           const std::function<void(double)>& progress) {
    size_t next = 0;
    while (next < records.size() || free_.size() < kInFlight) {
      for (; next < records.size() && !free_.empty(); ++next) start(records[next]);
      collect(check);
      if (progress) progress(static_cast<double>(next) / static_cast<double>(records.size()));
    }
  }

 private:
  std::span<std::byte> buffer(size_t index) {
    const auto size = static_cast<size_t>(segments_.layout().slot_bytes);
    return buffers_.bytes().subspan(index * size, size);
  }

  void start(const FoundRecord& record) {
    const size_t index = free_.back();
    free_.pop_back();
    records_[index] = &record;
    const auto [file, offset] = segments_.place(record.slot);
    queue_.submit({IoRequest::Kind::read, file, offset, buffer(index), index});
  }

  void collect(PageFolderCheck& check) {
    std::array<IoResult, kInFlight> results;
    const size_t count = queue_.wait(results);
    for (const auto& [index, status] : std::span(results).first(count)) {
      ++check.num_pages;
      check.num_bytes += segments_.layout().slot_bytes;
      const std::string reason = status ? problem(index) : status.error().message;
      if (!reason.empty()) check.problems.push_back(reason);
      free_.push_back(index);
    }
  }

  std::string problem(size_t index) {
    const auto& [slot, header] = *records_[index];
    const auto [file, offset] = segments_.place(slot);
    const auto payload =
        buffer(index).subspan(kHeaderBytes, static_cast<size_t>(segments_.layout().payload_bytes));
    if (header.payload_bytes != payload.size() || header.payload_crc != crc32c(payload))
      return fmt::format("{}: the page at {} is damaged", file->path(), offset);
    if (header.identity.key != page_key(header.identity.parent, header.identity.tokens))
      return fmt::format("{}: the key of the page at {} is not that of its tokens", file->path(), offset);
    return {};
  }

  const SegmentFiles& segments_;
  IoQueue& queue_;
  AlignedBuffer buffers_;
  std::vector<const FoundRecord*> records_;
  std::vector<size_t> free_;
};

}  // namespace

int64_t PageFolderInfo::num_pages() const {
  int64_t total = 0;
  for (const PagesOfFingerprint& pages : fingerprints) total += pages.num_pages;
  return total;
}

Result<PageFolderInfo> inspect_page_folder(FileSystem& files, const std::string& folder) {
  PAGODA_TRY(const SegmentFiles segments, SegmentFiles::open_existing(files, folder));
  PAGODA_TRY(const SlotScan scan, scan_slots(segments, *make_queue(segments)));
  PageFolderInfo info;
  info.page_bytes = segments.layout().payload_bytes;
  info.num_slots = static_cast<int32_t>(scan.records.size() + scan.empty.size() + scan.other.size() +
                                        scan.unreadable.size());
  info.num_damaged = static_cast<int32_t>(scan.other.size() + scan.unreadable.size());
  PAGODA_TRY(const std::vector<std::string> paths, segment_paths(files, folder));
  for (const std::string& path : paths) {
    PAGODA_TRY(const auto file, files.open(path, OpenMode::read));
    PAGODA_TRY(const uint64_t size, file->size());
    info.file_bytes += size;
    ++info.num_files;
  }
  for (const auto& [slot, header] : scan.records) {
    auto pages = std::ranges::find(info.fingerprints, header.fingerprint, &PagesOfFingerprint::fingerprint);
    if (pages == info.fingerprints.end())
      pages = info.fingerprints.insert(pages, {header.fingerprint, 0, header.generation, header.generation});
    ++pages->num_pages;
    pages->oldest_generation = std::min(pages->oldest_generation, header.generation);
    pages->newest_generation = std::max(pages->newest_generation, header.generation);
  }
  std::ranges::sort(info.fingerprints, std::ranges::greater(), &PagesOfFingerprint::num_pages);
  return info;
}

Result<PageFolderCheck> verify_page_folder(FileSystem& files, const std::string& folder,
                                           const std::function<void(double)>& progress) {
  // Before the lock, which creates a file.
  PAGODA_TRY_STATUS(segment_paths(files, folder));
  PAGODA_TRY(const auto lock, lock_idle_folder(files, folder));
  PAGODA_TRY(const SegmentFiles segments, SegmentFiles::open_existing(files, folder));
  const std::unique_ptr<IoQueue> queue = make_queue(segments);
  PAGODA_TRY(const SlotScan scan, scan_slots(segments, *queue));
  PageFolderCheck check;
  const auto report = [&](const std::vector<SlotId>& slots, const char* what) {
    for (const SlotId slot : slots) {
      const auto [file, offset] = segments.place(slot);
      check.problems.push_back(fmt::format("{}: the header at {} {}", file->path(), offset, what));
      ++check.num_pages;
    }
  };
  report(scan.other, "is damaged, or of another version");
  report(scan.unreadable, "cannot be read");
  PAGODA_TRY(AlignedBuffer buffers,
             AlignedBuffer::allocate(RecordChecker::kInFlight * segments.layout().slot_bytes));
  RecordChecker(segments, *queue, std::move(buffers)).run(scan.records, check, progress);
  return check;
}

Result<PageFolderRemoval> clear_page_folder(FileSystem& files, const std::string& folder) {
  PAGODA_TRY(const std::vector<std::string> paths, segment_paths(files, folder));
  PAGODA_TRY(const auto lock, lock_idle_folder(files, folder));
  PageFolderRemoval removal;
  for (const std::string& path : paths) {
    if (const auto file = files.open(path, OpenMode::read))
      if (const auto size = (*file)->size()) removal.num_bytes += *size;
    PAGODA_TRY_STATUS(files.remove(path));
    ++removal.num_files;
  }
  PAGODA_TRY_STATUS(files.sync_folder(folder));
  return removal;
}

}  // namespace pagoda
