#include "io/quote.h"

#include <iterator>

#include <fmt/format.h>

namespace pagoda {

std::string quote(std::string_view text) {
  constexpr size_t kMaxShown = 80;  // characters of the result, so that escapes cannot make a sentence long
  constexpr size_t kEscapeLength = 4;
  std::string out = "'";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool is_plain = byte >= 0x20 && byte < 0x7f;
    if (out.size() + (is_plain ? 1 : kEscapeLength) > 1 + kMaxShown) return out + "…'";
    if (is_plain) {
      out += c;
    } else {
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", byte);
    }
  }
  return out + "'";
}

}  // namespace pagoda
