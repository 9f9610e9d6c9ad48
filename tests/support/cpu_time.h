// Time that this process has computed, so that a busy machine does not count.
#pragma once

#include <ctime>

namespace pagoda::testing {

inline double cpu_ms() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) * 1e-6;
}

// How long a constraint may take to compile in a test: against what runs away, not a measurement. Twenty
// times what a quiet machine takes, since others are slower and sanitizers are, too.
inline constexpr double kMaxCompileMs = 2000;

}  // namespace pagoda::testing
