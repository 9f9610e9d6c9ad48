#include "kv/disk/segment_files.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>

#include "base/aligned_buffer.h"
#include "base/check.h"
#include "base/log.h"

namespace pagoda {

namespace {

constexpr std::string_view kPrefix = "pagoda-kv-";
constexpr std::string_view kSuffix = ".pages";
constexpr size_t kNumberDigits = 6;

Result<std::optional<Superblock>> read_superblock(File& file) {
  PAGODA_TRY(AlignedBuffer buffer, AlignedBuffer::allocate(kHeaderBytes));
  const std::span<std::byte> block = buffer.bytes();
  PAGODA_TRY(const size_t count, file.read_at(0, block));
  if (count < block.size()) return std::nullopt;
  return decode_superblock(block);
}

Status write_superblock(File& file, const Superblock& superblock) {
  PAGODA_TRY(AlignedBuffer buffer, AlignedBuffer::allocate(kHeaderBytes));
  const std::span<std::byte> block = buffer.bytes();
  encode_superblock(superblock, block);
  PAGODA_TRY(const size_t count, file.write_at(0, block));
  if (count < block.size()) return fail(ErrorCode::io, "{}: cannot be written", file.path());
  return file.sync();
}

}  // namespace

Result<SegmentLayout> SegmentLayout::plan(uint64_t bytes, uint64_t segment_bytes, uint64_t payload_bytes) {
  SegmentLayout layout;
  layout.payload_bytes = payload_bytes;
  layout.slot_bytes = slot_bytes_of(payload_bytes);
  const uint64_t least = layout.file_bytes(1);
  if (bytes < least)
    return fail(
        ErrorCode::invalid_argument,
        "{} bytes of disk have no room for a page of the KV cache, which takes {} bytes with this model",
        bytes, least);
  const uint64_t per_segment =
      (std::max(segment_bytes, least) - kHeaderBytes) / layout.slot_bytes;  // at least 1
  const uint64_t full_segment = kHeaderBytes + per_segment * layout.slot_bytes;
  const uint64_t rest = bytes % full_segment;
  const uint64_t slots =
      bytes / full_segment * per_segment + (rest < least ? 0 : (rest - kHeaderBytes) / layout.slot_bytes);
  constexpr uint64_t kMost = std::numeric_limits<SlotId>::max() / 2;
  layout.slots_per_segment = static_cast<int32_t>(std::min(per_segment, kMost));
  layout.num_slots = static_cast<int32_t>(std::min(slots, kMost));
  return layout;
}

int32_t SegmentLayout::slots_in(int32_t segment) const {
  return std::clamp(num_slots - segment * slots_per_segment, 0, slots_per_segment);
}

std::string segment_path(const std::string& folder, int32_t segment) {
  return fmt::format("{}/{}{:0{}}{}", folder, kPrefix, segment, kNumberDigits, kSuffix);
}

int32_t segment_number(std::string_view name) {
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) return -1;
  name.remove_prefix(kPrefix.size());
  if (name.size() < kNumberDigits + kSuffix.size()) return -1;
  name.remove_suffix(kSuffix.size());
  int32_t number = -1;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  return error == std::errc() && end == name.data() + name.size() ? number : -1;
}

Result<std::unique_ptr<FileLock>> lock_page_folder(FileSystem& files, const std::string& folder) {
  return files.lock(fmt::format("{}/{}", folder, kLockFileName));
}

// None if the file holds no pages of this size. With as many slots as the layout wants if it can be resized.
Result<SegmentFiles::Segment> SegmentFiles::adopt(std::unique_ptr<File> file, int32_t num_slots) const {
  // A disk that cannot be read is an error, and so no reason to delete what is on it.
  PAGODA_TRY(const auto superblock, read_superblock(*file));
  PAGODA_TRY(uint64_t size, file->size());
  if (superblock != Superblock{layout_.slot_bytes, layout_.payload_bytes}) return Segment();
  const uint64_t wanted = layout_.file_bytes(num_slots);
  if (size != wanted && is_writable_) {
    if (const Status status = file->resize(wanted))
      size = wanted;
    else
      PAGODA_WARN("kv disk: {}; going on with less", status.error().message);
  }
  const uint64_t slots = size < kHeaderBytes ? 0 : (size - kHeaderBytes) / layout_.slot_bytes;
  Segment segment;
  segment.num_slots = static_cast<int32_t>(std::min(slots, static_cast<uint64_t>(num_slots)));
  segment.file = std::move(file);
  return segment;
}

Result<SegmentFiles::Segment> SegmentFiles::create_segment(FileSystem& files, const std::string& path,
                                                           int32_t num_slots) const {
  Segment segment;
  segment.num_slots = num_slots;
  segment.is_new = true;
  PAGODA_TRY(segment.file, files.open(path, OpenMode::create));
  Status status = segment.file->resize(layout_.file_bytes(num_slots));
  if (!status)
    status =
        fail(status.error().code, "{}; pages get their room at the start: free some, or lower --kv-disk-size",
             status.error().message);
  if (status) status = write_superblock(*segment.file, {layout_.slot_bytes, layout_.payload_bytes});
  if (status) return segment;
  if (const Status removed = files.remove(path); !removed)
    PAGODA_WARN("kv disk: {}", removed.error().message);
  return std::unexpected(status.error());
}

Result<SegmentFiles::Segment> SegmentFiles::open_segment(FileSystem& files, const std::string& path,
                                                         int32_t num_slots) {
  Result<std::unique_ptr<File>> file = files.open(path, OpenMode::write);
  if (!file && file.error().code == ErrorCode::not_found)
    return is_writable_ ? create_segment(files, path, num_slots) : Segment();
  if (!file) {
    file = files.open(path, OpenMode::read);
    if (!file) return std::unexpected(file.error());
    is_writable_ = false;
  }
  PAGODA_TRY(Segment segment, adopt(std::move(*file), num_slots));
  if (segment.file != nullptr || !is_writable_) return segment;
  PAGODA_INFO("kv disk: {}: holds no pages of this model and is made anew", path);
  PAGODA_TRY_STATUS(files.remove(path));
  return create_segment(files, path, num_slots);
}

Result<SegmentFiles> SegmentFiles::open(FileSystem& files, const std::string& folder,
                                        const SegmentLayout& layout) {
  SegmentFiles result(layout);
  PAGODA_TRY(const std::vector<std::string> names, files.list(folder));
  for (const std::string& name : names) {
    if (segment_number(name) < layout.num_segments()) continue;
    if (const Status status = files.remove(fmt::format("{}/{}", folder, name)); !status)
      PAGODA_WARN("kv disk: {}", status.error().message);
  }
  std::optional<Error> first;
  for (int32_t i = 0; i < layout.num_segments(); ++i) {
    auto segment = result.open_segment(files, segment_path(folder, i), layout.slots_in(i));
    if (!segment && !first) first = segment.error();
    result.segments_.push_back(segment ? std::move(*segment) : Segment());
  }
  const SlotId end = result.end_slot();
  if (end == 0 && first) return std::unexpected(*first);
  if (end == 0) return fail(ErrorCode::io, "{}: cannot be written, and holds no pages of this model", folder);
  if (first) PAGODA_WARN("kv disk: {}; going on with less", first->message);
  if (!result.is_writable_) PAGODA_WARN("kv disk: {}: cannot be written, only read", folder);
  if (result.is_writable_) PAGODA_TRY_STATUS(files.sync_folder(folder));
  return result;
}

Result<SegmentFiles> SegmentFiles::open_existing(FileSystem& files, const std::string& folder) {
  PAGODA_TRY(const std::vector<std::string> names, files.list(folder));
  std::vector<int32_t> numbers;
  for (const std::string& name : names)
    if (const int32_t number = segment_number(name); number >= 0) numbers.push_back(number);
  std::ranges::sort(numbers);
  std::optional<SegmentFiles> result;
  for (const int32_t number : numbers) {
    PAGODA_TRY(std::unique_ptr<File> file, files.open(segment_path(folder, number), OpenMode::read));
    PAGODA_TRY(const std::optional<Superblock> superblock, read_superblock(*file));
    PAGODA_TRY(const uint64_t size, file->size());
    if (!superblock || superblock->slot_bytes != slot_bytes_of(superblock->payload_bytes) ||
        size < kHeaderBytes + superblock->slot_bytes)
      return fail(ErrorCode::corrupt, "{}: holds no pages of a KV cache", file->path());
    const uint64_t slots = (size - kHeaderBytes) / superblock->slot_bytes;
    if (!result) {
      SegmentLayout layout;
      layout.payload_bytes = superblock->payload_bytes;
      layout.slot_bytes = superblock->slot_bytes;
      result = SegmentFiles(layout);
      result->is_writable_ = false;
    }
    if (result->layout_.payload_bytes != superblock->payload_bytes)
      return fail(ErrorCode::corrupt, "{}: has pages of another size than the files before it", file->path());
    const auto count =
        static_cast<int32_t>(std::min<uint64_t>(slots, std::numeric_limits<int32_t>::max() / 2));
    result->layout_.slots_per_segment = std::max(result->layout_.slots_per_segment, count);
    result->segments_.push_back({std::move(file), count, false});
  }
  if (!result) return fail(ErrorCode::not_found, "{}: there is no KV cache", folder);
  result->layout_.num_slots = result->end_slot();
  return std::move(*result);
}

SegmentFiles::Place SegmentFiles::place(SlotId slot) const {
  PAGODA_CHECK(has_slot(slot), "slot {}", slot);
  const Segment& segment = segments_[static_cast<size_t>(slot / layout_.slots_per_segment)];
  return {segment.file.get(), layout_.file_bytes(slot % layout_.slots_per_segment)};
}

bool SegmentFiles::has_slot(SlotId slot) const {
  if (slot < 0) return false;
  const auto index = static_cast<size_t>(slot / layout_.slots_per_segment);
  return index < segments_.size() && segments_[index].file != nullptr &&
         slot % layout_.slots_per_segment < segments_[index].num_slots;
}

bool SegmentFiles::is_new(SlotId slot) const {
  return has_slot(slot) && segments_[static_cast<size_t>(slot / layout_.slots_per_segment)].is_new;
}

SlotId SegmentFiles::end_slot() const {
  for (size_t i = segments_.size(); i-- > 0;)
    if (segments_[i].file != nullptr && segments_[i].num_slots > 0)
      return static_cast<SlotId>(i) * layout_.slots_per_segment + segments_[i].num_slots;
  return 0;
}

bool SegmentFiles::has_descriptors() const {
  return std::ranges::all_of(
      segments_, [](const Segment& segment) { return !segment.file || segment.file->descriptor() >= 0; });
}

}  // namespace pagoda
