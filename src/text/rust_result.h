// Turns what the Rust library hands out into our own types.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/rust_abi.h"

namespace pagoda {

inline PgStr borrow(std::string_view text) {
  return {text.data(), text.size()};
}
std::vector<PgStr> borrow_all(std::span<const std::string_view> texts);

// Copies and frees.
std::string take(PgBuf& buf);

// `error` is what a call with this status left; it is freed.
Status to_status(PgStatus status, PgBuf& error);

}  // namespace pagoda
