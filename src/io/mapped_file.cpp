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
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int fd() const { return fd_; }

 private:
  int fd_;
};

struct RegularFile {
  Descriptor file;
  size_t num_bytes;
};

// Refuses what is not a regular file; opened without blocking, since a pipe would wait for a writer.
Result<RegularFile> open_regular(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0 && errno == ENOENT) return fail(ErrorCode::not_found, "{}: there is no such file", path);
  if (fd < 0) return fail(ErrorCode::io, "{}: cannot be opened: {}", path, std::strerror(errno));
  Descriptor file(fd);
  struct stat status{};
  if (fstat(fd, &status) != 0)
    return fail(ErrorCode::io, "{}: cannot be examined: {}", path, std::strerror(errno));
  if (!S_ISREG(status.st_mode)) return fail(ErrorCode::io, "{}: is not a regular file", path);
  return RegularFile{std::move(file), static_cast<size_t>(status.st_size)};
}

}  // namespace

Result<MappedFile> MappedFile::open(const std::string& path) {
  PAGODA_TRY(const RegularFile regular, open_regular(path));
  if (regular.num_bytes == 0) return fail(ErrorCode::corrupt, "{}: is empty", path);
  void* data = mmap(nullptr, regular.num_bytes, PROT_READ, MAP_PRIVATE, regular.file.fd(), 0);
  if (data == MAP_FAILED) return fail(ErrorCode::io, "{}: cannot be mapped: {}", path, std::strerror(errno));
  MappedFile result;
  result.data_ = static_cast<const std::byte*>(data);
  result.size_ = regular.num_bytes;
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
  PAGODA_TRY(const RegularFile regular, open_regular(path));
  std::string text;
  char block[1 << 16];
  for (;;) {
    const ssize_t count = read(regular.file.fd(), block, sizeof block);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(ErrorCode::io, "{}: cannot be read: {}", path, std::strerror(errno));
    if (count == 0) return text;
    if (text.size() + static_cast<size_t>(count) > max_bytes)
      return fail(ErrorCode::corrupt, "{}: is longer than {} bytes", path, max_bytes);
    text.append(block, static_cast<size_t>(count));
  }
}

}  // namespace pagoda
