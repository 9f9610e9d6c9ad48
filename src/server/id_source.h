// Identifiers that nobody has seen before: 96 bits, from a random start.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

namespace pagoda {

class IdSource {
 public:
  IdSource();
  // 24 hexadecimal digits. Any thread.
  std::string next();

 private:
  uint64_t key_;
  uint32_t prefix_;
  std::atomic<uint64_t> counter_{0};
};

}  // namespace pagoda
