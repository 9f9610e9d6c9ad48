// Logging: spdlog behind four names. Lines go to standard error, so that standard output stays a program's
// result.
#pragma once

#include <spdlog/spdlog.h>

namespace pagoda {

enum class LogLevel { debug, info, warning, error, off };

// Call once at start. Colours only on a terminal.
void init_logging(LogLevel level);

}  // namespace pagoda

#define PAGODA_DEBUG(...) ::spdlog::debug(__VA_ARGS__)
#define PAGODA_INFO(...) ::spdlog::info(__VA_ARGS__)
#define PAGODA_WARN(...) ::spdlog::warn(__VA_ARGS__)
#define PAGODA_ERROR(...) ::spdlog::error(__VA_ARGS__)
