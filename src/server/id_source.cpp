#include "server/id_source.h"

#include <random>

#include <fmt/format.h>

namespace pagoda {

IdSource::IdSource() {
  std::random_device random;
  key_ = (uint64_t{random()} << 32) | random();
  prefix_ = random();
}

std::string IdSource::next() {
  // SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014): a
  // bijection of the counter, so that ids of one process never repeat.
  uint64_t value = key_ + counter_.fetch_add(1, std::memory_order_relaxed) * 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  value ^= value >> 31;
  return fmt::format("{:08x}{:016x}", prefix_, value);
}

}  // namespace pagoda
