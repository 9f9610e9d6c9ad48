// The keys that clients may use, and the tenants that they stand for.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "server/tenant.h"

namespace pagoda {

class ApiKeys {
 public:
  // No keys: everybody may, and all are one tenant. `defaults`: the limits of keys that have none of their
  // own.
  ApiKeys(std::vector<ApiKey> keys, TenantLimits defaults);

  bool required() const { return !keys_.empty(); }
  // Null for a wrong key. Takes the same time for every wrong key of one length, wherever it differs.
  std::shared_ptr<Tenant> find(std::string_view key) const;

 private:
  std::vector<std::string> keys_;
  std::vector<std::shared_ptr<Tenant>> tenants_;  // of keys_, or the one of everybody
};

// One key a line; behind it, separated by spaces, may stand name=TEXT, max-concurrent=N and
// tokens-per-minute=N (0: no limit). Empty lines and lines that start with '#' are skipped. An empty list is
// invalid_argument: a file without keys would leave the server open.
Result<std::vector<ApiKey>> read_key_file(const std::string& path);

}  // namespace pagoda
