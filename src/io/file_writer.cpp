#include "io/file_writer.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>

namespace pagoda {

namespace {

std::unexpected<Error> failure(const std::string& path, const char* what) {
  return fail(ErrorCode::io, "{}: {}: {}", path, what, std::strerror(errno));
}

// Whether the open file is still the one of that name: between opening and locking its writer may have given
// it another.
bool has_name(int fd, const std::string& path) {
  struct stat opened{};
  struct stat named{};
  return fstat(fd, &opened) == 0 && lstat(path.c_str(), &named) == 0 && opened.st_dev == named.st_dev &&
         opened.st_ino == named.st_ino;
}

// Opens and locks; an open descriptor with `is_ours` false is to be tried again.
struct Attempt {
  Descriptor file;
  bool is_ours = false;
};
Result<Attempt> try_open(const std::string& path, const std::string& partial) {
  constexpr mode_t kReadableByAll = 0644;
  Attempt attempt;
  attempt.file = Descriptor(
      open(partial.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, kReadableByAll));
  if (!attempt.file.is_open()) return failure(path, "cannot be created");
  struct stat status{};
  if (fstat(attempt.file.fd(), &status) != 0 || !S_ISREG(status.st_mode) || status.st_nlink > 1)
    return fail(ErrorCode::io, "{}: cannot be created: {} is in the way", path, partial);
  if (flock(attempt.file.fd(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return failure(path, "cannot be locked");
    return fail(ErrorCode::io, "{}: another process is writing it", path);
  }
  attempt.is_ours = has_name(attempt.file.fd(), partial);
  return attempt;
}

}  // namespace

Result<AtomicFile> AtomicFile::create(const std::string& path) {
  const std::string partial = path + ".partial";
  for (;;) {
    PAGODA_TRY(Attempt attempt, try_open(path, partial));
    if (!attempt.is_ours) continue;
    AtomicFile file(path, std::move(attempt.file));
    if (ftruncate(file.file_.fd(), 0) != 0) return failure(path, "cannot be written");
    return file;
  }
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)), file_(std::move(other.file_)) {}

AtomicFile::~AtomicFile() {
  if (file_.is_open()) unlink(partial_path().c_str());
}

Status AtomicFile::reserve(uint64_t num_bytes) {
  // Passing the limit would be answered with a signal that ends the process.
  struct rlimit limit{};
  if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && num_bytes > limit.rlim_cur) {
    errno = EFBIG;
    return failure(path_, "cannot be written");
  }
  if (num_bytes == 0 || fallocate(file_.fd(), FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(num_bytes)) == 0)
    return {};
  // Some file systems cannot reserve; writing will show what they hold.
  if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG) return failure(path_, "cannot be written");
  return {};
}

Status AtomicFile::write(std::span<const std::byte> bytes) {
  constexpr size_t kMostAtOnce = size_t{8} << 20;
  while (!bytes.empty()) {
    const ssize_t count = ::write(file_.fd(), bytes.data(), std::min(bytes.size(), kMostAtOnce));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return failure(path_, "cannot be written");
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
  return {};
}

Status AtomicFile::commit() {
  if (fsync(file_.fd()) != 0 && errno != EINVAL && errno != ENOTSUP)
    return failure(path_, "cannot be written");
  if (rename(partial_path().c_str(), path_.c_str()) != 0) return failure(path_, "cannot be created");
  file_ = Descriptor();
  return {};
}

Status write_file_atomically(const std::string& path, std::span<const std::byte> bytes) {
  PAGODA_TRY(AtomicFile file, AtomicFile::create(path));
  PAGODA_TRY_STATUS(file.reserve(bytes.size()));
  PAGODA_TRY_STATUS(file.write(bytes));
  return file.commit();
}

}  // namespace pagoda
