// PAGODA_CHECK(condition, format, values…): a failed check is a bug in Pagoda; it prints file, line and
// values and aborts.
#pragma once

#include <string>

#include <fmt/format.h>

namespace pagoda {

[[noreturn]] void check_failed(const char* file, int line, const char* condition, const std::string& message);

}  // namespace pagoda

#define PAGODA_CHECK(condition, ...)                                                         \
  do {                                                                                       \
    if (!(condition)) [[unlikely]]                                                           \
      ::pagoda::check_failed(__FILE__, __LINE__, #condition, ::fmt::format("" __VA_ARGS__)); \
  } while (false)
