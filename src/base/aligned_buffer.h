// Anonymous memory for weights, KV pages and scratch, advised for 2 MiB pages: on many machines (guests above
// all) reading through 4 KiB pages costs half of the memory bandwidth.
#pragma once

#include <cstddef>
#include <span>

#include "base/result.h"

namespace pagoda {

// Owns a zero-filled mapping aligned to 2 MiB (4 KiB for small ones). Pages are committed on first touch.
// Movable.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  // An error (out_of_memory) if the system refuses.
  static Result<AlignedBuffer> allocate(size_t num_bytes);
  AlignedBuffer(AlignedBuffer&& other) noexcept;
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept;
  ~AlignedBuffer();

  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  std::span<std::byte> bytes() { return {data_, size_}; }
  // Has the system give the memory of [begin, begin + num_bytes) now, as a first touch would; contents stay.
  // Others may use the bytes meanwhile. False where that cannot be asked for (Linux before 5.14).
  bool commit(size_t begin, size_t num_bytes) const;

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
  void* mapping_ = nullptr;
  size_t mapping_bytes_ = 0;
};

}  // namespace pagoda
