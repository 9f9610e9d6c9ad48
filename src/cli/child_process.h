// A computation in a process of its own: what it takes of memory is seen by itself, and ends with it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <span>
#include <type_traits>

#include "base/result.h"

namespace pagoda {

// Runs `fill` in a forked child; it writes into the memory that it is given, and those bytes come back. An
// Error of the child comes back likewise; a child that dies is `internal`. Only for a process with one
// thread.
Status run_in_child(std::span<std::byte> result, const std::function<Status(std::span<std::byte>)>& fill);

template <class Value, class Compute>
Result<Value> compute_in_child(Compute&& compute) {
  static_assert(std::is_trivially_copyable_v<Value>);
  Value value;
  PAGODA_TRY_STATUS(
      run_in_child(std::as_writable_bytes(std::span(&value, 1)), [&](std::span<std::byte> out) -> Status {
        PAGODA_TRY(const Value computed, compute());
        const auto bytes = std::as_bytes(std::span(&computed, 1));
        std::copy(bytes.begin(), bytes.end(), out.begin());
        return {};
      }));
  return value;
}

}  // namespace pagoda
