#include "kv/disk/page_folder.h"

#include <algorithm>
#include <utility>

#include "io/crc32c.h"
#include "kv/disk/scan.h"
#include "kv/disk/segment_files.h"
#include "kv/disk/slot_queue.h"
#include "kv/disk/slot_reader.h"
#include "kv/page_chain.h"

namespace pagoda {

namespace {

Result<std::vector<std::string>> segment_paths(FileSystem& files, const std::string& folder) {
  PAGODA_TRY(const std::vector<std::string> names, files.list(folder));
  std::vector<std::string> paths;
  for (const std::string& name : names)
    if (segment_number(name) >= 0) paths.push_back(fmt::format("{}/{}", folder, name));
  if (paths.empty()) return fail(ErrorCode::not_found, "{}: there is no KV cache", folder);
  return paths;
}

Result<std::unique_ptr<FileLock>> lock_idle_folder(FileSystem& files, const std::string& folder) {
  PAGODA_TRY(std::unique_ptr<FileLock> lock, lock_page_folder(files, folder));
  if (lock == nullptr) return fail(ErrorCode::io, "{}: a running process uses it; stop that first", folder);
  return lock;
}

// What is wrong with the record of a slot; empty if nothing is.
std::string problem_of(const SegmentFiles& segments, const FoundRecord& record,
                       std::span<const std::byte> bytes) {
  const auto [file, offset] = segments.place(record.slot);
  const RecordHeader& header = record.header;
  const auto payload = bytes.subspan(kHeaderBytes, static_cast<size_t>(segments.layout().payload_bytes));
  if (header.payload_bytes != payload.size() || header.payload_crc != crc32c(payload))
    return fmt::format("{}: the page at {} is damaged", file->path(), offset);
  if (header.identity.key != page_key(header.identity.parent, header.identity.tokens))
    return fmt::format("{}: the key of the page at {} is not that of its tokens", file->path(), offset);
  return {};
}

// records: by slot.
Status check_records(const SegmentFiles& segments, IoQueue& queue, std::span<const FoundRecord> records,
                     const std::function<void(double)>& progress, PageFolderCheck& check) {
  const auto slot_bytes = static_cast<size_t>(segments.layout().slot_bytes);
  const auto look = [&](SlotId slot, const Status& status, std::span<const std::byte> bytes) {
    ++check.num_pages;
    check.num_bytes += slot_bytes;
    const auto record = std::ranges::lower_bound(records, slot, {}, &FoundRecord::slot);
    const std::string problem = status ? problem_of(segments, *record, bytes) : status.error().message;
    if (!problem.empty()) check.problems.push_back(problem);
  };
  PAGODA_TRY(SlotReader reader, SlotReader::create(segments, queue, slot_bytes, look));
  for (size_t i = 0; i < records.size(); ++i) {
    reader.read(records[i].slot);
    if (progress) progress(static_cast<double>(i) / static_cast<double>(records.size()));
  }
  reader.finish();
  if (progress) progress(1.0);
  return {};
}

}  // namespace

int64_t PageFolderInfo::num_pages() const {
  int64_t total = 0;
  for (const PagesOfFingerprint& pages : fingerprints) total += pages.num_pages;
  return total;
}

Result<PageFolderInfo> inspect_page_folder(FileSystem& files, const std::string& folder) {
  PAGODA_TRY(const SegmentFiles segments, SegmentFiles::open_existing(files, folder));
  PAGODA_TRY(const SlotQueue slot_queue, open_slot_queue(segments, DiskIo::automatic, kMostIoThreads));
  PAGODA_TRY(const SlotScan scan, scan_slots(segments, *slot_queue.queue));
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
  PAGODA_TRY(const SlotQueue slot_queue, open_slot_queue(segments, DiskIo::automatic, kMostIoThreads));
  PAGODA_TRY(const SlotScan scan, scan_slots(segments, *slot_queue.queue));
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
  PAGODA_TRY_STATUS(check_records(segments, *slot_queue.queue, scan.records, progress, check));
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
