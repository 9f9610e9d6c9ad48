#include "io/mapped_file.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"

namespace pagoda {

namespace {

constexpr size_t kPage = 4096;

FileStamp stamp_of(const struct stat& status) {
  const auto nanoseconds = [](const timespec& time) {
    return int64_t{time.tv_sec} * 1'000'000'000 + int64_t{time.tv_nsec};
  };
  return {static_cast<uint64_t>(status.st_size), static_cast<uint64_t>(status.st_ino),
          nanoseconds(status.st_mtim), nanoseconds(status.st_ctim)};
}

struct RegularFile {
  Descriptor file;
  FileStamp stamp;
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
  return RegularFile{std::move(file), stamp_of(status)};
}

// Advises about the pages that lie in a range; those at its ends that it shares only where `advice` is
// harmless to their other parts.
enum class EndPages { included, excluded };
void advise(std::span<const std::byte> part, int advice, EndPages ends) {
  auto* begin = const_cast<std::byte*>(part.data());
  size_t num_bytes = part.size();
  const size_t into_page = reinterpret_cast<uintptr_t>(begin) % kPage;
  if (ends == EndPages::included) {
    begin -= into_page;
    num_bytes += into_page;
  } else {
    const size_t shared = (kPage - into_page) % kPage;
    if (num_bytes < shared + kPage) return;
    begin += shared;
    num_bytes = (num_bytes - shared) / kPage * kPage;
  }
  madvise(begin, num_bytes, advice);
}

}  // namespace

Result<FileStamp> stamp_file(const std::string& path) {
  struct stat status{};
  if (stat(path.c_str(), &status) != 0)
    return fail(ErrorCode::io, "{}: cannot be examined: {}", path, std::strerror(errno));
  return stamp_of(status);
}

Result<MappedFile> MappedFile::open(const std::string& path) {
  PAGODA_TRY(RegularFile regular, open_regular(path));
  const size_t num_bytes = regular.stamp.num_bytes;
  if (num_bytes == 0) return fail(ErrorCode::corrupt, "{}: is empty", path);
  void* data = mmap(nullptr, num_bytes, PROT_READ, MAP_PRIVATE, regular.file.fd(), 0);
  if (data == MAP_FAILED) return fail(ErrorCode::io, "{}: cannot be mapped: {}", path, std::strerror(errno));
  MappedFile result;
  result.file_ = std::move(regular.file);
  result.data_ = static_cast<const std::byte*>(data);
  result.size_ = num_bytes;
  result.stamp_ = regular.stamp;
  return result;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : file_(std::move(other.file_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      stamp_(other.stamp_) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  file_ = std::move(other.file_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(stamp_, other.stamp_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), size_);
}

Status MappedFile::read(std::span<const std::byte> part, std::span<std::byte> out) const {
  PAGODA_CHECK(part.size() == out.size(), "{} bytes into {}", part.size(), out.size());
  auto offset = static_cast<off_t>(part.data() - data_);
  while (!out.empty()) {
    const ssize_t count = pread(file_.fd(), out.data(), out.size(), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(ErrorCode::io, "a mapped file cannot be read: {}", std::strerror(errno));
    if (count == 0) return fail(ErrorCode::io, "a mapped file was shortened");
    offset += count;
    out = out.subspan(static_cast<size_t>(count));
  }
  return {};
}

void MappedFile::prefetch(std::span<const std::byte> part) const noexcept {
  advise(part, MADV_WILLNEED, EndPages::included);
}
void MappedFile::release(std::span<const std::byte> part) const noexcept {
  advise(part, MADV_DONTNEED, EndPages::excluded);
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
