// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): a counter-based
// generator. Any number of the stream is computed directly from (key, counter), so there is no state to save
// or share.
#pragma once

#include <array>
#include <cstdint>

namespace pagoda {

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// Uniform in [0, 1) with 24 bits, from (seed, position, stream).
float uniform(uint64_t seed, uint64_t position, uint32_t stream);

// A seed for the index-th of several sequences that share one; index 0 keeps it.
uint64_t derive_seed(uint64_t seed, uint64_t index);

}  // namespace pagoda
