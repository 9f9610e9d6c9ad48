// Token ids from the command line.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace pagoda {

// Integers between spaces, commas or line ends. invalid_argument that shows what is none.
Result<std::vector<int32_t>> parse_ids(std::string_view text);

// A .npy file of int32 or int64, or text as above.
Result<std::vector<int32_t>> read_ids_file(const std::string& path);

}  // namespace pagoda
