#include "cli/byte_size.h"

#include <charconv>
#include <cmath>

namespace pagoda {

namespace {

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return lower;
}

// Bytes of a unit; 0 if there is no such unit.
double unit_bytes(std::string_view unit) {
  if (unit.empty() || unit == "b") return 1;
  const size_t power = std::string_view("kmgt").find(unit.front());
  if (power == std::string_view::npos) return 0;
  const std::string_view rest = unit.substr(1);
  const bool decimal = rest == "b";
  if (!decimal && !rest.empty() && rest != "i" && rest != "ib") return 0;
  return std::pow(decimal ? 1000.0 : 1024.0, static_cast<double>(power + 1));
}

}  // namespace

Result<uint64_t> parse_byte_size(std::string_view text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const double unit = error == std::errc() ? unit_bytes(lower_case({end, text.data() + text.size()})) : 0;
  const double num_bytes = number * unit;
  if (!(unit > 0) || !(num_bytes >= 1) || num_bytes > 1e18)
    return fail(ErrorCode::invalid_argument, "'{}' is no size; write it as 8GiB, 500MB or a number of bytes",
                text);
  return static_cast<uint64_t>(num_bytes);
}

std::string format_byte_size(uint64_t num_bytes) {
  constexpr std::string_view kUnits[] = {"B", "kB", "MB", "GB", "TB"};
  auto value = static_cast<double>(num_bytes);
  size_t unit = 0;
  while (value >= 999.5 && unit + 1 < std::size(kUnits)) {
    value /= 1000;
    ++unit;
  }
  const int decimals = unit == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return fmt::format("{:.{}f} {}", value, decimals, kUnits[unit]);
}

}  // namespace pagoda
