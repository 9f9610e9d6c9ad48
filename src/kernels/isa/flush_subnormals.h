// Arithmetic as the bf16 dot product instruction does it.
#pragma once

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace pagoda {
namespace {

// While it lives, operations of this thread take subnormal numbers for zero and give none.
class FlushSubnormals {
 public:
  FlushSubnormals(const FlushSubnormals&) = delete;
  FlushSubnormals& operator=(const FlushSubnormals&) = delete;
#if defined(__SSE2__)
  FlushSubnormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | kFlushToZero | kSubnormalsAreZero); }
  ~FlushSubnormals() { _mm_setcsr(saved_); }

 private:
  static constexpr unsigned kFlushToZero = 0x8000;
  static constexpr unsigned kSubnormalsAreZero = 0x0040;
  unsigned saved_;
#else
  FlushSubnormals() = default;
#endif
};

}  // namespace
}  // namespace pagoda
