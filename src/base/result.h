// Errors as values. A bug aborts (check.h); everything else that can go wrong is a Result whose message is a
// sentence that a user can act on: it names the file, field or parameter, and what to do where that is known.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace pagoda {

enum class ErrorCode {
  invalid_argument,  // the caller's request or option is wrong
  not_found,         // a file, model or name does not exist
  corrupt,           // a file is damaged, truncated or hostile
  unsupported,       // valid, but not something this build can do
  out_of_memory,     // does not fit the memory budget
  io,                // the operating system refused
  cancelled,         // the client went away or asked to stop
  overloaded,        // a bounded queue is full; trying again later may work
  internal,          // a caught failure of a library
};

std::string_view to_string(ErrorCode code);

struct Error {
  ErrorCode code = ErrorCode::internal;
  std::string message;
};

template <class T>
using Result = std::expected<T, Error>;
using Status = Result<void>;

// return fail(ErrorCode::corrupt, "{}: tensor '{}' ends beyond the file", path, name);
template <class... Args>
std::unexpected<Error> fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  return std::unexpected(Error{code, fmt::format(format, std::forward<Args>(args)...)});
}

}  // namespace pagoda

// Evaluates a Result expression; returns its error from the enclosing function or binds its value to `var`.
#define PAGODA_CONCAT_INNER(a, b) a##b
#define PAGODA_CONCAT(a, b) PAGODA_CONCAT_INNER(a, b)
#define PAGODA_TRY(var, ...) PAGODA_TRY_IMPL(PAGODA_CONCAT(pagoda_try_, __LINE__), var, __VA_ARGS__)
#define PAGODA_TRY_IMPL(tmp, var, ...)                      \
  auto tmp = (__VA_ARGS__);                                 \
  if (!tmp) return std::unexpected(std::move(tmp).error()); \
  var = std::move(tmp).value()
// The same for a Status.
#define PAGODA_TRY_STATUS(...)                                  \
  do {                                                          \
    if (auto pagoda_status = (__VA_ARGS__); !pagoda_status)     \
      return std::unexpected(std::move(pagoda_status).error()); \
  } while (false)
