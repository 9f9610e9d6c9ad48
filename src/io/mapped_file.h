// A whole file mapped for reading.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"
#include "io/descriptor.h"

namespace pagoda {

// Changes whenever the file's contents do: any write sets changed_ns, which programs cannot set back. (A
// machine whose clock is turned back, or a file system without that time, can repeat one.)
struct FileStamp {
  uint64_t num_bytes = 0;
  uint64_t inode = 0;
  int64_t modified_ns = 0;
  int64_t changed_ns = 0;
  bool operator==(const FileStamp&) const = default;
};
// Of the file that has the name now.
Result<FileStamp> stamp_file(const std::string& path);

// Unmaps on destruction. A file that another process shortens while it is mapped ends the process (SIGBUS).
class MappedFile {
 public:
  MappedFile() = default;
  // not_found, io (a folder, no permission …) or corrupt (empty).
  static Result<MappedFile> open(const std::string& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  // As it was when it was opened.
  const FileStamp& stamp() const { return stamp_; }

  // Copies a part of bytes() without the mapping: its pages do not join this process, and a file that has
  // been shortened is an error (io). out: as long as the part.
  Status read(std::span<const std::byte> part, std::span<std::byte> out) const;

  // Advice for a part of bytes(). They change when the part is in memory, never what is read.
  void prefetch(std::span<const std::byte> part) const noexcept;  // begin to read it from the disk
  void release(std::span<const std::byte> part) const noexcept;   // no longer needed by this process

 private:
  Descriptor file_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  FileStamp stamp_;
};

// Contents of a file of at most max_bytes (corrupt if it is longer).
Result<std::string> read_text_file(const std::string& path, size_t max_bytes);

}  // namespace pagoda
