#include "io/file_system.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "io/descriptor.h"

namespace pagoda {

namespace {

constexpr mode_t kOwnerOnly = 0600;

std::unexpected<Error> failure(const std::string& path, const char* what, int error) {
  return fail(error == ENOENT ? ErrorCode::not_found : ErrorCode::io, "{}: {}: {}", path, what,
              std::strerror(error));
}

class SystemFile final : public File {
 public:
  SystemFile(std::string path, Descriptor file) : path_(std::move(path)), file_(std::move(file)) {}

  Result<size_t> read_at(uint64_t offset, std::span<std::byte> out) override {
    return transfer("cannot be read",
                    [&] { return pread(file_.fd(), out.data(), out.size(), static_cast<off_t>(offset)); });
  }
  Result<size_t> write_at(uint64_t offset, std::span<const std::byte> bytes) override {
    return transfer("cannot be written", [&] {
      return pwrite(file_.fd(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    });
  }
  Status sync() override {
    if (fdatasync(file_.fd()) != 0) return failure(path_, "cannot be written", errno);
    return {};
  }
  Status resize(uint64_t num_bytes) override {
    // Passing the limit would be answered with a signal that ends the process.
    struct rlimit limit{};
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && num_bytes > limit.rlim_cur)
      return failure(path_, "cannot be made as large as that", EFBIG);
    PAGODA_TRY(const uint64_t before, size());
    // Before the size changes, so that on a full disk all stays as it was.
    if (num_bytes > before && fallocate(file_.fd(), FALLOC_FL_KEEP_SIZE, static_cast<off_t>(before),
                                        static_cast<off_t>(num_bytes - before)) != 0) {
      const bool cannot_reserve = errno == EOPNOTSUPP || errno == ENOSYS;
      if (!cannot_reserve) return failure(path_, "cannot be made as large as that", errno);
    }
    if (ftruncate(file_.fd(), static_cast<off_t>(num_bytes)) != 0)
      return failure(path_, "cannot be resized", errno);
    return {};
  }
  Result<uint64_t> size() const override {
    struct stat status{};
    if (fstat(file_.fd(), &status) != 0) return failure(path_, "cannot be read", errno);
    return static_cast<uint64_t>(status.st_size);
  }
  const std::string& path() const override { return path_; }
  int descriptor() const override { return file_.fd(); }

 private:
  template <class Call>
  Result<size_t> transfer(const char* what, Call&& call) {
    for (;;) {
      const ssize_t count = call();
      if (count >= 0) return static_cast<size_t>(count);
      if (errno != EINTR) return failure(path_, what, errno);
    }
  }

  std::string path_;
  Descriptor file_;
};

class SystemLock final : public FileLock {
 public:
  explicit SystemLock(Descriptor file) : file_(std::move(file)) {}

 private:
  Descriptor file_;
};

class SystemFiles final : public FileSystem {
 public:
  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override {
    int flags = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    flags |= mode == OpenMode::read ? O_RDONLY : O_RDWR;
    if (mode == OpenMode::create) flags |= O_CREAT | O_EXCL;
    // tmpfs and others refuse O_DIRECT, some of them after they have created the file.
    Descriptor file(::open(path.c_str(), flags | O_DIRECT, kOwnerOnly));
    if (!file.is_open() && errno == EINVAL)
      file = Descriptor(::open(path.c_str(), flags & ~O_EXCL, kOwnerOnly));
    if (!file.is_open()) return failure(path, "cannot be opened", errno);
    struct stat status{};
    if (fstat(file.fd(), &status) != 0 || !S_ISREG(status.st_mode))
      return fail(ErrorCode::io, "{}: is not a regular file", path);
    return std::make_unique<SystemFile>(path, std::move(file));
  }

  Status create_folder(const std::string& path) override {
    std::error_code error;
    const bool is_new = std::filesystem::create_directories(path, error);
    if (error) return fail(ErrorCode::io, "{}: cannot be created: {}", path, error.message());
    if (is_new) chmod(path.c_str(), 0700);
    return {};
  }

  Result<std::vector<std::string>> list(const std::string& folder) override {
    std::error_code error;
    std::vector<std::string> names;
    std::filesystem::directory_iterator entry(folder, error);
    for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error))
      names.push_back(entry->path().filename().string());
    if (error == std::errc::no_such_file_or_directory)
      return fail(ErrorCode::not_found, "{}: there is no such folder", folder);
    if (error) return fail(ErrorCode::io, "{}: cannot be listed: {}", folder, error.message());
    std::ranges::sort(names);
    return names;
  }

  Status remove(const std::string& path) override {
    if (unlink(path.c_str()) != 0) return failure(path, "cannot be removed", errno);
    return {};
  }

  Status sync_folder(const std::string& path) override {
    const Descriptor folder(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECTORY));
    if (!folder.is_open()) return failure(path, "cannot be opened", errno);
    if (fsync(folder.fd()) != 0 && errno != EINVAL && errno != ENOTSUP)
      return failure(path, "cannot be written", errno);
    return {};
  }

  Result<std::unique_ptr<FileLock>> lock(const std::string& path) override {
    constexpr int kFlags = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | kFlags, kOwnerOnly));
    // A folder that may only be read can be locked as well.
    if (!file.is_open() && (errno == EROFS || errno == EACCES))
      file = Descriptor(::open(path.c_str(), O_RDONLY | kFlags));
    if (!file.is_open()) return failure(path, "cannot be opened", errno);
    if (flock(file.fd(), LOCK_EX | LOCK_NB) == 0) return std::make_unique<SystemLock>(std::move(file));
    if (errno == EWOULDBLOCK) return nullptr;
    return failure(path, "cannot be locked", errno);
  }
};

}  // namespace

FileSystem& system_files() {
  static SystemFiles files;
  return files;
}

}  // namespace pagoda
