// Bitwise comparison of logits, and made-up prompts.
#pragma once

#include <bit>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/cpu_info.h"
#include "kernels/isa.h"

namespace pagoda::testing {

inline void expect_same_bits(std::span<const float> got, std::span<const float> want,
                             const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (size_t i = 0; i < got.size(); ++i) {
    if (std::bit_cast<uint32_t>(got[i]) == std::bit_cast<uint32_t>(want[i])) continue;
    FAIL() << what << ": value " << i << " is " << got[i] << ", not " << want[i];
  }
}

inline std::vector<int32_t> made_up_ids(size_t count, int64_t vocab_size, uint64_t seed) {
  std::vector<int32_t> ids;
  for (uint64_t state = seed; ids.size() < count;) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    ids.push_back(static_cast<int32_t>((state >> 33) % static_cast<uint64_t>(vocab_size)));
  }
  return ids;
}

inline Isa best_isa() {
  return available_isas(detect_cpu()).back();
}

}  // namespace pagoda::testing
