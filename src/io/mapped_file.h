// A whole file mapped for reading.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "base/result.h"

namespace pagoda {

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

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// Contents of a file of at most max_bytes (corrupt if it is longer).
Result<std::string> read_text_file(const std::string& path, size_t max_bytes);

}  // namespace pagoda
