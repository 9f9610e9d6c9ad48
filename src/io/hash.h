// Hashes (XXH3) that tell damaged or changed bytes from good ones. Not proof against forgery.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace pagoda {

struct Digest {
  uint64_t low = 0;
  uint64_t high = 0;
  bool operator==(const Digest&) const = default;
};

// For hash tables.
struct DigestHash {
  size_t operator()(const Digest& digest) const { return digest.low; }
};

// The same on every machine, and in every version of Pagoda: both may be stored.
uint64_t checksum(std::span<const std::byte> bytes);
Digest digest(std::span<const std::byte> bytes);

}  // namespace pagoda
