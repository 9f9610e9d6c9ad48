#include "cli/file_cache.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <thread>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

namespace pagoda {

namespace {

constexpr size_t kBlockBytes = size_t{4} << 20;

class OpenFile {
 public:
  static Result<OpenFile> open(const std::string& path) {
    OpenFile file;
    file.descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat status = {};
    if (file.descriptor_ < 0 || fstat(file.descriptor_, &status) != 0)
      return fail(ErrorCode::io, "{}: {}", path, std::strerror(errno));
    file.size_ = static_cast<size_t>(status.st_size);
    return file;
  }
  OpenFile(OpenFile&& other) noexcept : descriptor_(other.descriptor_), size_(other.size_) {
    other.descriptor_ = -1;
  }
  OpenFile& operator=(OpenFile&&) = delete;
  ~OpenFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  int descriptor() const { return descriptor_; }
  size_t size() const { return size_; }

 private:
  OpenFile() = default;
  int descriptor_ = -1;
  size_t size_ = 0;
};

// Of the file's pages, those in memory.
Result<double> resident_share(const std::string& path, const OpenFile& file) {
  if (file.size() == 0) return 0.0;
  const auto page_bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> pages((file.size() + page_bytes - 1) / page_bytes);
  void* mapping = mmap(nullptr, file.size(), PROT_READ, MAP_SHARED, file.descriptor(), 0);
  if (mapping == MAP_FAILED) return fail(ErrorCode::io, "{}: {}", path, std::strerror(errno));
  const bool known = mincore(mapping, file.size(), pages.data()) == 0;
  munmap(mapping, file.size());
  if (!known)
    return fail(ErrorCode::unsupported, "{}: the system does not tell which pages are in memory", path);
  const auto resident = std::ranges::count_if(pages, [](unsigned char page) { return (page & 1) != 0; });
  return static_cast<double>(resident) / static_cast<double>(pages.size());
}

// False at the end of the file or at an error.
bool read_block(const OpenFile& file, size_t block, std::vector<char>& buffer) {
  size_t at = block * kBlockBytes;
  const size_t end = std::min(at + kBlockBytes, file.size());
  while (at < end) {
    const ssize_t count = pread(file.descriptor(), buffer.data(), end - at, static_cast<off_t>(at));
    if (count <= 0) return false;
    at += static_cast<size_t>(count);
  }
  return true;
}

Status read_whole(const std::string& path, int num_threads) {
  PAGODA_TRY(const OpenFile file, OpenFile::open(path));
  const size_t num_blocks = (file.size() + kBlockBytes - 1) / kBlockBytes;
  std::atomic<size_t> next{0};
  std::atomic<bool> failed{false};
  std::vector<std::jthread> threads;
  threads.reserve(static_cast<size_t>(num_threads));
  for (int i = 0; i < num_threads; ++i) {
    threads.emplace_back([&] {
      std::vector<char> buffer(kBlockBytes);
      for (size_t block = next++; block < num_blocks && !failed; block = next++)
        if (!read_block(file, block, buffer)) failed = true;
    });
  }
  threads.clear();
  if (failed) return fail(ErrorCode::io, "{} could not be read", path);
  return {};
}

}  // namespace

Status drop_from_page_cache(const std::vector<std::string>& files) {
  constexpr double kTolerated = 0.01;
  for (const std::string& path : files) {
    PAGODA_TRY(const OpenFile file, OpenFile::open(path));
    fdatasync(file.descriptor());  // pages that were not written yet cannot be dropped
    posix_fadvise(file.descriptor(), 0, 0, POSIX_FADV_DONTNEED);
    PAGODA_TRY(const double resident, resident_share(path, file));
    if (resident > kTolerated)
      return fail(ErrorCode::unsupported, "{:.0f} % of {} stay in memory, so that no load can be cold",
                  100 * resident, path);
  }
  return {};
}

Result<double> read_rate(const std::vector<std::string>& files, int num_threads) {
  PAGODA_TRY(const uint64_t bytes, total_file_bytes(files));
  const SteadyClock clock;
  const int64_t start_ns = clock.now_ns();
  for (const std::string& path : files) PAGODA_TRY_STATUS(read_whole(path, num_threads));
  return static_cast<double>(bytes) / (static_cast<double>(clock.now_ns() - start_ns) * 1e-9);
}

Result<uint64_t> total_file_bytes(const std::vector<std::string>& files) {
  uint64_t bytes = 0;
  for (const std::string& path : files) {
    PAGODA_TRY(const OpenFile file, OpenFile::open(path));
    bytes += file.size();
  }
  return bytes;
}

}  // namespace pagoda
