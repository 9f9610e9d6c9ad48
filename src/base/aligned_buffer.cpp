#include "base/aligned_buffer.h"

#include <cstdint>
#include <cstring>
#include <utility>

#include <sys/mman.h>

#include "base/check.h"

namespace pagoda {

namespace {
constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kSmallPage = 4096;
}  // namespace

Result<AlignedBuffer> AlignedBuffer::allocate(size_t num_bytes) {
  AlignedBuffer buffer;
  if (num_bytes == 0) return buffer;
  const size_t alignment = num_bytes >= kHugePage ? kHugePage : kSmallPage;
  if (num_bytes > SIZE_MAX - 2 * alignment)
    return fail(ErrorCode::out_of_memory, "cannot allocate {} bytes", num_bytes);
  const size_t mapping_bytes = (num_bytes + alignment - 1) / alignment * alignment + (alignment - kSmallPage);
  void* mapping = mmap(nullptr, mapping_bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED)
    return fail(ErrorCode::out_of_memory, "the system refused {} bytes of memory: {}", num_bytes,
                strerror(errno));
  const auto start = reinterpret_cast<uintptr_t>(mapping);
  buffer.mapping_ = mapping;
  buffer.mapping_bytes_ = mapping_bytes;
  buffer.data_ = static_cast<std::byte*>(mapping) + (alignment - start % alignment) % alignment;
  buffer.size_ = num_bytes;
  if (alignment == kHugePage)
    madvise(mapping, mapping_bytes, MADV_HUGEPAGE);  // only advice: a refusal costs speed
  return buffer;
}

bool AlignedBuffer::commit(size_t begin, size_t num_bytes) const {
  PAGODA_CHECK(begin <= size_ && num_bytes <= size_ - begin, "{} bytes from {} of {}", num_bytes, begin,
               size_);
  std::byte* first = data_ + begin / kSmallPage * kSmallPage;
  const auto whole = static_cast<size_t>(data_ + begin + num_bytes - first);
  return madvise(first, whole, MADV_POPULATE_WRITE) == 0;
}

AlignedBuffer::AlignedBuffer(AlignedBuffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      mapping_(std::exchange(other.mapping_, nullptr)),
      mapping_bytes_(std::exchange(other.mapping_bytes_, 0)) {}

AlignedBuffer& AlignedBuffer::operator=(AlignedBuffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(mapping_, other.mapping_);
  std::swap(mapping_bytes_, other.mapping_bytes_);
  return *this;
}

AlignedBuffer::~AlignedBuffer() {
  if (mapping_ != nullptr) munmap(mapping_, mapping_bytes_);
}

}  // namespace pagoda
