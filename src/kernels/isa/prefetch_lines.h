// Asking for the lines of a cache that a loop reads later.
#pragma once

#include "kernels/isa/unroll.h"
#include "kernels/prefetch.h"

namespace pagoda {
namespace {

// Starts loading the lines of kBytes from `first` on. Always inlined: GCC drops calls of what does nothing
// but prefetch.
template <int kBytes, CacheLevel kLevel>
PAGODA_INLINE void prefetch_lines(const void* first) {
  constexpr int kLocality = kLevel == CacheLevel::l1 ? 3 : 2;
  const auto* bytes = static_cast<const char*>(first);
  PAGODA_UNROLL for (int i = 0; i < kBytes; i += 64) __builtin_prefetch(bytes + i, 0, kLocality);
}

// Calls f<level>(): for loops that have no register left for the question.
template <class F>
PAGODA_INLINE void with_level(CacheLevel level, F f) {
  if (level == CacheLevel::l1)
    f.template operator()<CacheLevel::l1>();
  else
    f.template operator()<CacheLevel::l2>();
}
template <int kBytes>
PAGODA_INLINE void prefetch_lines(const void* first, CacheLevel level) {
  with_level(level, [&]<CacheLevel kLevel>() PAGODA_INLINE_LAMBDA { prefetch_lines<kBytes, kLevel>(first); });
}

}  // namespace
}  // namespace pagoda
