#include "sample/philox.h"

namespace pagoda {

namespace {
constexpr uint32_t kMultiplier0 = 0xD2511F53;
constexpr uint32_t kMultiplier1 = 0xCD9E8D57;
constexpr uint32_t kWeyl0 = 0x9E3779B9;
constexpr uint32_t kWeyl1 = 0xBB67AE85;
constexpr int kRounds = 10;
constexpr uint32_t kSeedStream = 0x5EED;  // apart from the streams that callers of uniform() use

constexpr uint32_t low(uint64_t value) {
  return static_cast<uint32_t>(value);
}
constexpr uint32_t high(uint64_t value) {
  return static_cast<uint32_t>(value >> 32);
}
}  // namespace

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t product0 = uint64_t{kMultiplier0} * counter[0];
    const uint64_t product1 = uint64_t{kMultiplier1} * counter[2];
    counter = {high(product1) ^ counter[1] ^ key[0], low(product1), high(product0) ^ counter[3] ^ key[1],
               low(product0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

float uniform(uint64_t seed, uint64_t position, uint32_t stream) {
  const auto words = philox4x32({low(position), high(position), stream, 0}, {low(seed), high(seed)});
  return static_cast<float>(words[0] >> 8) * 0x1p-24f;
}

uint64_t derive_seed(uint64_t seed, uint64_t index) {
  if (index == 0) return seed;
  const auto words = philox4x32({low(index), high(index), kSeedStream, 1}, {low(seed), high(seed)});
  return (uint64_t{words[1]} << 32) | words[0];
}

}  // namespace pagoda
