// What a page of the prefix cache is known by: the exact tokens, not a hash of them.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "kernels/kv_page.h"

namespace pagoda {

// One position of a sequence as the cache compares it: a text token is its id; a placeholder of an image has
// the top bit set and stands for the image's content, its grid and the place in it.
using KeyToken = uint64_t;
inline constexpr KeyToken kMediaToken = KeyToken{1} << 63;

constexpr KeyToken text_key(int32_t token) {
  return static_cast<uint32_t>(token);
}

// Pages that hold num_tokens tokens.
constexpr int64_t pages_for(int64_t num_tokens) {
  return (num_tokens + kPageTokens - 1) / kPageTokens;
}

using PageTokens = std::array<KeyToken, kPageTokens>;

// Sequences share pages only within one of these. Fields are compared as they are, so that no value of one
// can pass for another's.
struct PrefixNamespace {
  std::string adapter;
  std::string salt;    // of the client; pages under a salt never leave memory
  uint32_t flags = 0;  // of the request, as far as they change K and V
  auto operator<=>(const PrefixNamespace&) const = default;
};

}  // namespace pagoda
