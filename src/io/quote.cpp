#include "io/quote.h"

#include <iterator>

#include <fmt/format.h>

namespace pagoda {

std::string quote(std::string_view text) {
  constexpr size_t kMaxShown = 80;
  std::string out = "'";
  for (const char c : text.substr(0, kMaxShown)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f) {
      out += c;
    } else {
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", byte);
    }
  }
  out += text.size() > kMaxShown ? "…'" : "'";
  return out;
}

}  // namespace pagoda
