#include "base/heap.h"

#include <malloc.h>

namespace pagoda {

namespace {
constexpr int kLargeBlockBytes = 128 << 10;  // glibc's own first limit
}

void return_large_blocks() {
  mallopt(M_MMAP_THRESHOLD, kLargeBlockBytes);
  mallopt(M_TRIM_THRESHOLD, kLargeBlockBytes);
}

}  // namespace pagoda
