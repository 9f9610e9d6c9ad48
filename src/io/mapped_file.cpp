#include "io/mapped_file.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace pagoda {

namespace {

// Closes a descriptor on every way out.
struct Descriptor {
  int fd;
  explicit Descriptor(int value) : fd(value) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd >= 0) close(fd);
  }
};

std::unexpected<Error> open_error(const std::string& path) {
  if (errno == ENOENT) return fail(ErrorCode::not_found, "{}: there is no such file", path);
  return fail(ErrorCode::io, "{}: cannot be opened: {}", path, std::strerror(errno));
}

}  // namespace

Result<MappedFile> MappedFile::open(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.fd < 0) return open_error(path);
  struct stat status {};
  if (fstat(file.fd, &status) != 0) return fail(ErrorCode::io, "{}: {}", path, std::strerror(errno));
  if (!S_ISREG(status.st_mode)) return fail(ErrorCode::io, "{}: is not a regular file", path);
  if (status.st_size == 0) return fail(ErrorCode::corrupt, "{}: is empty", path);
  MappedFile result;
  result.size_ = static_cast<size_t>(status.st_size);
  void* data = mmap(nullptr, result.size_, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (data == MAP_FAILED) return fail(ErrorCode::io, "{}: cannot be mapped: {}", path, std::strerror(errno));
  result.data_ = static_cast<const std::byte*>(data);
  return result;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), size_);
}

Result<std::string> read_text_file(const std::string& path, size_t max_bytes) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.fd < 0) return open_error(path);
  std::string text;
  char block[1 << 16];
  for (;;) {
    const ssize_t count = read(file.fd, block, sizeof block);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(ErrorCode::io, "{}: cannot be read: {}", path, std::strerror(errno));
    if (count == 0) return text;
    if (text.size() + static_cast<size_t>(count) > max_bytes)
      return fail(ErrorCode::corrupt, "{}: is longer than {} bytes", path, max_bytes);
    text.append(block, static_cast<size_t>(count));
  }
}

}  // namespace pagoda
