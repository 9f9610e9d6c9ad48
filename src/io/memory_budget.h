// Bounds what a parser keeps of a file, since entries of a few bytes can ask for hundreds of bytes of memory.
#pragma once

#include <algorithm>
#include <cstdint>

namespace pagoda {

// As many bytes as the file itself has, or a sum that no machine misses where the file is small.
class MemoryBudget {
 public:
  explicit MemoryBudget(uint64_t file_bytes) : left_(std::max(file_bytes, kSmall)) {}

  // False, with nothing taken, if that much is not left.
  [[nodiscard]] bool take(uint64_t num_bytes) {
    if (num_bytes > left_) return false;
    left_ -= num_bytes;
    return true;
  }

  // A tensor's description with its places in the indices by name, beside the name itself.
  static constexpr uint64_t kTensorBytes = 512;
  // A key and a value in a map, beside the text of both.
  static constexpr uint64_t kMapEntryBytes = 160;

 private:
  static constexpr uint64_t kSmall = uint64_t{64} << 20;
  uint64_t left_;
};

}  // namespace pagoda
