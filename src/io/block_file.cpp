#include "io/block_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "io/descriptor.h"
#include "io/file_writer.h"

namespace pagoda {

namespace {

constexpr size_t kPage = 4096;  // what unbuffered reads are aligned to
constexpr size_t kBlockBytes = size_t{2} << 20;
// Disks reach their rate with 8 MiB and more in flight.
constexpr int kReadsInFlight = 8;
constexpr char kMagic[8] = {'P', 'A', 'G', 'O', 'D', 'A', 'B', 'F'};
constexpr uint32_t kFormVersion = 2;

struct Header {
  char magic[8];
  uint32_t form_version;
  uint32_t version;
  Digest source;
  uint64_t num_bytes;
  uint64_t checksum;  // of all in front of the blocks, with 0 in its place
  uint64_t note_bytes;
};
static_assert(sizeof(Header) == 56 && sizeof(Header) + kMaxNoteBytes <= kPage);

size_t num_blocks_of(size_t num_bytes) {
  return (num_bytes + kBlockBytes - 1) / kBlockBytes;
}
// Header and table.
size_t prefix_bytes_of(size_t num_bytes) {
  const size_t table_bytes = num_blocks_of(num_bytes) * sizeof(uint64_t);
  return kPage + (table_bytes + kPage - 1) / kPage * kPage;
}

template <class Bytes>
auto block_of(Bytes bytes, size_t index) {
  const size_t begin = index * kBlockBytes;
  return bytes.subspan(begin, std::min(kBlockBytes, bytes.size() - begin));
}

// The file from two sides: through the page cache, and past it.
struct OpenFile {
  const std::string& path;
  Descriptor buffered;
  Descriptor direct;  // not open where the file system has no such reads
  size_t num_bytes = 0;
};

Result<OpenFile> open_file(const std::string& path) {
  OpenFile file{path, Descriptor(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)), {}, 0};
  if (!file.buffered.is_open() && errno == ENOENT)
    return fail(ErrorCode::not_found, "{}: there is no such file", path);
  if (!file.buffered.is_open())
    return fail(ErrorCode::io, "{}: cannot be opened: {}", path, std::strerror(errno));
  struct stat status{};
  if (fstat(file.buffered.fd(), &status) != 0 || !S_ISREG(status.st_mode))
    return fail(ErrorCode::io, "{}: is not a regular file", path);
  file.num_bytes = static_cast<size_t>(status.st_size);
  return file;
}

// Whether nearly all of the file is in the page cache, told from places all over it.
bool is_cached(const OpenFile& file) {
  constexpr size_t kPlaces = 64;
  constexpr size_t kPagesEach = 16;
  void* mapping = mmap(nullptr, file.num_bytes, PROT_READ, MAP_SHARED, file.buffered.fd(), 0);
  if (mapping == MAP_FAILED) return false;
  size_t num_seen = 0;
  size_t num_cached = 0;
  for (size_t place = 0; place < kPlaces; ++place) {
    const size_t begin = file.num_bytes / kPlaces * place / kPage * kPage;
    unsigned char pages[kPagesEach] = {};
    const size_t length = std::min(kPagesEach * kPage, file.num_bytes - begin);
    if (mincore(static_cast<std::byte*>(mapping) + begin, length, pages) != 0) break;
    const size_t num_pages = (length + kPage - 1) / kPage;
    num_seen += num_pages;
    num_cached += static_cast<size_t>(std::count_if(pages, pages + num_pages, [](auto p) { return p & 1; }));
  }
  munmap(mapping, file.num_bytes);
  return num_seen > 0 && num_cached * 10 >= num_seen * 9;
}

Status read_at(const OpenFile& file, int fd, size_t offset, std::span<std::byte> out) {
  while (!out.empty()) {
    const ssize_t count = pread(fd, out.data(), out.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(ErrorCode::io, "{}: cannot be read: {}", file.path, std::strerror(errno));
    if (count == 0) return fail(ErrorCode::corrupt, "{}: is cut short", file.path);
    offset += static_cast<size_t>(count);
    out = out.subspan(static_cast<size_t>(count));
  }
  return {};
}

// Unbuffered as far as that goes: whole pages.
Status read_block(const OpenFile& file, size_t offset, std::span<std::byte> out) {
  const bool is_aligned = reinterpret_cast<uintptr_t>(out.data()) % kPage == 0;
  size_t done = 0;
  if (file.direct.is_open() && is_aligned) {
    const size_t whole = out.size() / kPage * kPage;
    while (done < whole) {
      const ssize_t count =
          pread(file.direct.fd(), out.data() + done, whole - done, static_cast<off_t>(offset + done));
      if (count <= 0) break;
      done += static_cast<size_t>(count) / kPage * kPage;
      if (static_cast<size_t>(count) % kPage != 0) break;
    }
  }
  return read_at(file, file.buffered.fd(), offset + done, out.subspan(done));
}

// Has the system give the memory. A page fault of the process itself locks only the mapping that it is in,
// but one within a read locks the whole address space, and other threads' allocations would wait while it
// clears 2 MiB.
void touch_pages(std::span<std::byte> memory) {
  for (size_t at = 0; at < memory.size(); at += kPage)
    *static_cast<volatile std::byte*>(&memory[at]) = std::byte{0};
}

// What lies in front of the blocks.
struct Prefix {
  size_t num_bytes = 0;  // of the blocks
  std::vector<std::byte> note;
  std::vector<uint64_t> table;
};

std::vector<std::byte> make_prefix(const BlockFileId& id, const Prefix& prefix) {
  Header header = {};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.form_version = kFormVersion;
  header.version = id.version;
  header.source = id.source;
  header.num_bytes = prefix.num_bytes;
  header.note_bytes = prefix.note.size();
  std::vector<std::byte> bytes(prefix_bytes_of(prefix.num_bytes));
  std::memcpy(bytes.data(), &header, sizeof header);
  std::ranges::copy(prefix.note, bytes.begin() + sizeof header);
  std::ranges::copy(std::as_bytes(std::span(prefix.table)), bytes.begin() + kPage);
  header.checksum = checksum(bytes);
  std::memcpy(bytes.data(), &header, sizeof header);
  return bytes;
}

std::unexpected<Error> made_from_something_else(const OpenFile& file) {
  return fail(ErrorCode::corrupt, "{}: was made from something else, or from an earlier state of it",
              file.path);
}

// Of a file that is whole, undamaged in front and of this id.
Result<Prefix> read_prefix(const OpenFile& file, const BlockFileId& id) {
  Header header = {};
  if (file.num_bytes < kPage) return fail(ErrorCode::corrupt, "{}: is cut short", file.path);
  PAGODA_TRY_STATUS(read_at(file, file.buffered.fd(), 0, std::as_writable_bytes(std::span(&header, 1))));
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0)
    return fail(ErrorCode::corrupt, "{}: is a file of another kind", file.path);
  if (header.form_version != kFormVersion || header.version != id.version)
    return fail(ErrorCode::corrupt, "{}: was written by another version of this program", file.path);
  if (header.source != id.source) return made_from_something_else(file);
  if (header.num_bytes > file.num_bytes) return fail(ErrorCode::corrupt, "{}: is cut short", file.path);
  const size_t prefix_bytes = prefix_bytes_of(header.num_bytes);
  if (file.num_bytes != prefix_bytes + header.num_bytes)
    return fail(ErrorCode::corrupt, "{}: is {}", file.path,
                file.num_bytes < prefix_bytes + header.num_bytes ? "cut short" : "too long");
  std::vector<std::byte> bytes(prefix_bytes);
  PAGODA_TRY_STATUS(read_at(file, file.buffered.fd(), 0, bytes));
  const auto* note = bytes.data() + sizeof header;
  Prefix prefix = {header.num_bytes,
                   {note, note + std::min<size_t>(header.note_bytes, kMaxNoteBytes)},
                   std::vector<uint64_t>(num_blocks_of(header.num_bytes))};
  std::ranges::copy(std::span(bytes).subspan(kPage, prefix.table.size() * sizeof(uint64_t)),
                    std::as_writable_bytes(std::span(prefix.table)).begin());
  if (bytes != make_prefix(id, prefix))
    return fail(ErrorCode::corrupt, "{}: its header is damaged", file.path);
  return prefix;
}

}  // namespace

Status read_block_file(const std::string& path, const BlockFileId& id, std::span<std::byte> out,
                       int num_threads, const WorkProgress& progress) {
  PAGODA_TRY(OpenFile file, open_file(path));
  PAGODA_TRY(const Prefix prefix, read_prefix(file, id));
  const std::vector<uint64_t>& table = prefix.table;
  if (prefix.num_bytes != out.size()) return made_from_something_else(file);
  if (!is_cached(file)) {
    file.direct = Descriptor(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT));
    num_threads = std::max(num_threads, kReadsInFlight);
  }
  const size_t first = prefix_bytes_of(out.size());
  return divide_work(table.size(), num_threads, progress, [&](size_t index, int) -> Status {
    const std::span<std::byte> block = block_of(out, index);
    touch_pages(block);
    PAGODA_TRY_STATUS(read_block(file, first + index * kBlockBytes, block));
    if (checksum(block) != table[index])
      return fail(ErrorCode::corrupt, "{}: is damaged (part {} of {})", path, index + 1, table.size());
    return {};
  });
}

Result<std::vector<std::byte>> read_block_file_note(const std::string& path, const BlockFileId& id) {
  PAGODA_TRY(const OpenFile file, open_file(path));
  PAGODA_TRY(Prefix prefix, read_prefix(file, id));
  return std::move(prefix.note);
}

Status write_block_file(const std::string& path, const BlockFileId& id, std::span<const std::byte> note,
                        std::span<const std::byte> bytes, int num_threads) {
  if (note.size() > kMaxNoteBytes)
    return fail(ErrorCode::io, "{}: {} bytes are too many for a note", path, note.size());
  PAGODA_TRY(AtomicFile file, AtomicFile::create(path));
  PAGODA_TRY_STATUS(file.reserve(prefix_bytes_of(bytes.size()) + bytes.size()));
  Prefix prefix = {
      bytes.size(), {note.begin(), note.end()}, std::vector<uint64_t>(num_blocks_of(bytes.size()))};
  PAGODA_TRY_STATUS(divide_work(prefix.table.size(), num_threads, {}, [&](size_t index, int) -> Status {
    prefix.table[index] = checksum(block_of(bytes, index));
    return {};
  }));
  PAGODA_TRY_STATUS(file.write(make_prefix(id, prefix)));
  PAGODA_TRY_STATUS(file.write(bytes));
  return file.commit();
}

}  // namespace pagoda
