// Scratch memory of a forward pass: one buffer, sized at start, handed out in order and taken back as a
// whole.
#pragma once

#include <cstddef>
#include <span>

#include "base/aligned_buffer.h"
#include "base/check.h"

namespace pagoda {

class Workspace {
 public:
  static constexpr size_t kAlignment = 64;
  static constexpr size_t aligned(size_t num_bytes) {
    return (num_bytes + kAlignment - 1) / kAlignment * kAlignment;
  }

  static Result<Workspace> create(size_t num_bytes) {
    PAGODA_TRY(AlignedBuffer buffer, AlignedBuffer::allocate(num_bytes));
    return Workspace(std::move(buffer));
  }

  void reset() { used_ = 0; }
  // Uninitialised; aligned to 64 bytes. Asking for more than was sized is a bug.
  template <class T>
  std::span<T> take(size_t count) {
    const size_t num_bytes = aligned(count * sizeof(T));
    PAGODA_CHECK(used_ + num_bytes <= buffer_.size(), "workspace: {} + {} of {}", used_, num_bytes,
                 buffer_.size());
    T* start = reinterpret_cast<T*>(buffer_.data() + used_);
    used_ += num_bytes;
    return {start, count};
  }
  size_t size() const { return buffer_.size(); }
  // Has the system give all of it now.
  void commit() const { buffer_.commit(0, buffer_.size()); }

 private:
  explicit Workspace(AlignedBuffer buffer) : buffer_(std::move(buffer)) {}
  AlignedBuffer buffer_;
  size_t used_ = 0;
};

// Counts what the same sequence of take() calls would need of a Workspace.
class WorkspaceSizer {
 public:
  template <class T>
  std::span<T> take(size_t count) {
    num_bytes_ += Workspace::aligned(count * sizeof(T));
    return {};
  }
  size_t num_bytes() const { return num_bytes_; }

 private:
  size_t num_bytes_ = 0;
};

}  // namespace pagoda
