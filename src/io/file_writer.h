// Writing files so that a reader sees the old contents or the new, never a part.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "base/result.h"

namespace pagoda {

// Writes beside the target, syncs, renames. On any error (a full disk, say) the old file is untouched.
Status write_file_atomically(const std::string& path, std::span<const std::byte> bytes);

}  // namespace pagoda
