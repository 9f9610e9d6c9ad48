// How much memory a process holds.
#pragma once

#include <cstdint>

namespace pagoda {

struct ResidentMemory {
  uint64_t total = 0;      // bytes in RAM; pages of mapped files included
  uint64_t anonymous = 0;  // of these: weights, caches, heap
  uint64_t peak = 0;       // the most of `total` since the process began
};

// Of this process, as /proc/self/status has it; zeros where the system has none.
ResidentMemory resident_memory();

}  // namespace pagoda
