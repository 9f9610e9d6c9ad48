// The preallocated files of a folder, as one run of numbered slots.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "io/file_system.h"
#include "kv/disk/record.h"

namespace pagoda {

struct SegmentLayout {
  uint64_t payload_bytes = 0;
  uint64_t slot_bytes = 0;
  int32_t slots_per_segment = 0;
  int32_t num_slots = 0;  // in all segments; the last one may have fewer than the others

  // As many slots as fit in `bytes`, cut in files of up to segment_bytes.
  static Result<SegmentLayout> plan(uint64_t bytes, uint64_t segment_bytes, uint64_t payload_bytes);

  int32_t num_segments() const { return (num_slots + slots_per_segment - 1) / slots_per_segment; }
  int32_t slots_in(int32_t segment) const;
  uint64_t file_bytes(int32_t num_slots_in_file) const {
    return kHeaderBytes + static_cast<uint64_t>(num_slots_in_file) * slot_bytes;
  }
};

class SegmentFiles {
 public:
  // Opens what is there and creates or resizes the rest. Files of other pages (another size) are made anew,
  // those beyond the layout are removed. Where there is no room for all, or a file cannot be used, there are
  // fewer slots and a warning. Where the folder cannot be written: what is there, for reading.
  static Result<SegmentFiles> open(FileSystem& files, const std::string& folder, const SegmentLayout& layout);
  // What is there, as it is, for reading: a layout that the files themselves tell. not_found if there is
  // nothing.
  static Result<SegmentFiles> open_existing(FileSystem& files, const std::string& folder);

  struct Place {
    File* file = nullptr;
    uint64_t offset = 0;  // of the header; the payload follows
  };
  Place place(SlotId slot) const;
  bool has_slot(SlotId slot) const;
  // Created by open(), hence all zeros.
  bool is_new(SlotId slot) const;
  // One more than the last slot that there is.
  SlotId end_slot() const;
  bool is_writable() const { return is_writable_; }
  bool has_descriptors() const;
  const SegmentLayout& layout() const { return layout_; }

 private:
  struct Segment {
    std::unique_ptr<File> file;  // null: there is none
    int32_t num_slots = 0;
    bool is_new = false;
  };

  explicit SegmentFiles(const SegmentLayout& layout) : layout_(layout) {}
  Result<Segment> open_segment(FileSystem& files, const std::string& path, int32_t num_slots);
  Result<Segment> create_segment(FileSystem& files, const std::string& path, int32_t num_slots) const;
  Result<Segment> adopt(std::unique_ptr<File> file, int32_t num_slots) const;

  SegmentLayout layout_;
  std::vector<Segment> segments_;
  bool is_writable_ = true;
};

// Null: another process has the folder.
Result<std::unique_ptr<FileLock>> lock_page_folder(FileSystem& files, const std::string& folder);
inline constexpr const char* kFolderInUse =
    "{}: is the KV cache of another process; each needs a folder of its own";

std::string segment_path(const std::string& folder, int32_t segment);
// The number in a segment's file name; -1 for the names of others.
int32_t segment_number(std::string_view name);
inline constexpr std::string_view kLockFileName = "pagoda-kv.lock";

}  // namespace pagoda
