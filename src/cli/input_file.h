// Files that are named on the command line: regular ones, but pipes and devices, too.
#pragma once

#include <string>

#include "base/result.h"

namespace pagoda {

// All of its bytes. Errors name the file: it cannot be read (not_found), or has more than a GiB (corrupt).
Result<std::string> read_input_file(const std::string& path);

}  // namespace pagoda
