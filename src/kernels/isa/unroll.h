// How loops over registers are written out.
#pragma once

#if defined(__clang__)
#define PAGODA_UNROLL _Pragma("unroll")
#else
#define PAGODA_UNROLL _Pragma("GCC unroll 16")
#endif
#define PAGODA_INLINE [[gnu::always_inline]] inline
#define PAGODA_INLINE_LAMBDA __attribute__((always_inline))
