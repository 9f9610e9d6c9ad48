// From argv to a Command.
#pragma once

#include <expected>

#include "cli/arguments.h"

namespace pagoda {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;
inline constexpr int kExitUsage = 2;

// Prints help and versions to standard output, usage errors to standard error; then there is only an exit
// code.
std::expected<Command, int> parse_command_line(int argc, const char* const* argv);

}  // namespace pagoda
