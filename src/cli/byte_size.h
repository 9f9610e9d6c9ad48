// Sizes as people write them: "8GiB", "500MB", "1.5g", "4096".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace pagoda {

// At least one byte. K, M, G, T with or without "iB" are powers of 1024; KB, MB, GB, TB powers of 1000. Case
// does not matter.
Result<uint64_t> parse_byte_size(std::string_view text);

// "98.4 MB", "1.12 GB": three digits, powers of 1000.
std::string format_byte_size(uint64_t num_bytes);

}  // namespace pagoda
