// Files that are written in place, behind an interface small enough that a test can keep them in memory or
// make them fail.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace pagoda {

// Offsets, sizes and addresses of reads and writes are multiples of this, since they may pass by the page
// cache.
inline constexpr size_t kDirectAlignment = 4096;

// Any thread may call any of these, several at once. Errors name the file.
class File {
 public:
  virtual ~File() = default;
  // The number of bytes that were transferred: fewer than asked for at the end of the file (0 beyond it), and
  // whenever the system stops early.
  virtual Result<size_t> read_at(uint64_t offset, std::span<std::byte> out) = 0;
  virtual Result<size_t> write_at(uint64_t offset, std::span<const std::byte> bytes) = 0;
  // What has been written survives a loss of power from here on.
  virtual Status sync() = 0;
  // New bytes read as zeros; where the file system can, they have their room on the disk.
  virtual Status resize(uint64_t num_bytes) = 0;
  virtual Result<uint64_t> size() const = 0;
  virtual const std::string& path() const = 0;
  // For asynchronous calls to the system; -1 where there is nothing of that kind behind the file.
  virtual int descriptor() const { return -1; }
};

// Held until destroyed, or until the process ends in whatever way.
class FileLock {
 public:
  virtual ~FileLock() = default;
};

enum class OpenMode {
  read,
  write,   // an existing file, for reading too
  create,  // a new, empty one, for reading too
};

class FileSystem {
 public:
  virtual ~FileSystem() = default;
  // Only the owner may read what is created. not_found where there is no such file.
  virtual Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) = 0;
  // With the folders above it. Fine if it exists.
  virtual Status create_folder(const std::string& path) = 0;
  // Names of the files in a folder, sorted.
  virtual Result<std::vector<std::string>> list(const std::string& folder) = 0;
  virtual Status remove(const std::string& path) = 0;
  // Files that were created and removed in it so far stay so after a loss of power.
  virtual Status sync_folder(const std::string& path) = 0;
  // Creates the file if need be. Null: somebody else holds the lock.
  virtual Result<std::unique_ptr<FileLock>> lock(const std::string& path) = 0;
};

// The one of the operating system. Reads and writes pass by the page cache where its file systems can do
// that.
FileSystem& system_files();

}  // namespace pagoda
