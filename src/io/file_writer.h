// Writing files so that a reader sees the old contents or the new, never a part.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"
#include "io/descriptor.h"

namespace pagoda {

// A file that takes its name only when it is complete. Until then it is called `path`.partial, locked by the
// one process that writes it: what a killed writer left is overwritten by the next one. On any error the file
// that had the name before is untouched.
class AtomicFile {
 public:
  // An io error if the folder cannot be written, or another process is writing the same file.
  static Result<AtomicFile> create(const std::string& path);
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();  // removes what was not committed

  // Asks for the room ahead of writing, so that a full disk shows at once. Size limits of the process are
  // errors, too, not its end.
  Status reserve(uint64_t num_bytes);
  Status write(std::span<const std::byte> bytes);  // appends
  // Syncs and takes the name. Nothing may be written after it.
  Status commit();

 private:
  AtomicFile(std::string path, Descriptor file) : path_(std::move(path)), file_(std::move(file)) {}
  std::string partial_path() const { return path_ + ".partial"; }

  std::string path_;
  Descriptor file_;  // open until committed
};

// An AtomicFile of these bytes.
Status write_file_atomically(const std::string& path, std::span<const std::byte> bytes);

}  // namespace pagoda
