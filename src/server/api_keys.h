// The keys that clients may use.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace pagoda {

class ApiKeys {
 public:
  // No keys: everybody may.
  explicit ApiKeys(std::vector<std::string> keys) : keys_(std::move(keys)) {}

  bool required() const { return !keys_.empty(); }
  // Takes the same time for every wrong key of one length, wherever it differs.
  bool accepts(std::string_view key) const;

 private:
  std::vector<std::string> keys_;
};

// One key a line; empty lines and lines that start with '#' are skipped. An empty list is invalid_argument: a
// file without keys would leave the server open.
Result<std::vector<std::string>> read_key_file(const std::string& path);

}  // namespace pagoda
