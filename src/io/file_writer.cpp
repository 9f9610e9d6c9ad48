#include "io/file_writer.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace pagoda {

namespace {

Status write_all(int fd, std::span<const std::byte> bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t count = write(fd, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(ErrorCode::io, "{}: cannot be written: {}", path, std::strerror(errno));
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
  if (fsync(fd) != 0 && errno != EINVAL && errno != ENOTSUP)
    return fail(ErrorCode::io, "{}: cannot be written: {}", path, std::strerror(errno));
  return {};
}

}  // namespace

Status write_file_atomically(const std::string& path, std::span<const std::byte> bytes) {
  std::string temporary = path + ".XXXXXX";
  const int fd = mkostemp(temporary.data(), O_CLOEXEC);
  if (fd < 0) return fail(ErrorCode::io, "{}: cannot be created: {}", path, std::strerror(errno));
  Status status = write_all(fd, bytes, path);
  constexpr mode_t kReadableByAll = 0644;
  if (fchmod(fd, kReadableByAll) != 0 && status)
    status = fail(ErrorCode::io, "{}: its mode cannot be set: {}", path, std::strerror(errno));
  close(fd);
  if (status && rename(temporary.c_str(), path.c_str()) != 0)
    status = fail(ErrorCode::io, "{}: cannot be created: {}", path, std::strerror(errno));
  if (!status) unlink(temporary.c_str());
  return status;
}

}  // namespace pagoda
