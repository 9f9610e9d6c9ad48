// How long pages stay in the prefix cache and how long they lie there between uses, as vLLM measures its
// blocks: by the clock that PrefixCache::set_time() was told.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace pagoda {

struct ResidencyHistogram {
  static constexpr std::array kSeconds = {0.001, 0.002, 0.005, 0.01,  0.02,  0.05,   0.1,
                                          0.2,   0.5,   1.0,   2.0,   5.0,   10.0,   20.0,
                                          30.0,  60.0,  120.0, 300.0, 600.0, 1200.0, 1800.0};
  std::array<uint64_t, kSeconds.size() + 1> counts{};  // by upper bound, not cumulative; the last has none
  double sum = 0;                                      // seconds

  void observe(int64_t ns) {
    const double seconds = static_cast<double>(ns) / 1e9;  // exact for whole seconds, unlike times 1e-9
    ++counts[static_cast<size_t>(std::ranges::lower_bound(kSeconds, seconds) - kSeconds.begin())];
    sum += seconds;
  }
};

struct PageResidency {
  ResidencyHistogram lifetime;  // from a page's entry into memory to its eviction
  ResidencyHistogram idle;      // the last part of that, in which no sequence used it
  ResidencyHistogram reuse;     // other times in which none did, up to the next that does
};

}  // namespace pagoda
