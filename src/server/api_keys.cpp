#include "server/api_keys.h"

#include <fstream>

namespace pagoda {
namespace {

bool equal_in_constant_time(std::string_view expected, std::string_view given) {
  if (expected.empty()) return false;
  unsigned difference = expected.size() == given.size() ? 0u : 1u;
  for (size_t i = 0; i < given.size(); ++i)
    difference |=
        static_cast<unsigned char>(given[i]) ^ static_cast<unsigned char>(expected[i % expected.size()]);
  return difference == 0;
}

}  // namespace

bool ApiKeys::accepts(std::string_view key) const {
  bool accepted = keys_.empty();
  for (const std::string& expected : keys_) accepted |= equal_in_constant_time(expected, key);
  return accepted;
}

Result<std::vector<std::string>> read_key_file(const std::string& path) {
  std::ifstream file(path);
  if (!file) return fail(ErrorCode::not_found, "Cannot read the key file '{}'", path);
  std::vector<std::string> keys;
  for (std::string line; std::getline(file, line);) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ' || line.back() == '\t'))
      line.pop_back();
    if (!line.empty() && line.front() != '#') keys.push_back(line);
  }
  if (keys.empty()) return fail(ErrorCode::invalid_argument, "The key file '{}' holds no key", path);
  return keys;
}

}  // namespace pagoda
