#include "server/api_keys.h"

#include <charconv>
#include <fstream>
#include <sstream>
#include <unordered_set>

#include <fmt/format.h>
#include <openssl/sha.h>

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

// Enough of a hash to tell keys apart in logs, too little to guess one from.
std::string label_of(const ApiKey& key) {
  if (!key.name.empty()) return key.name;
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(key.key.data()), key.key.size(), digest);
  return fmt::format("key-{:02x}{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2], digest[3]);
}

std::optional<int64_t> parse_count(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

// An attribute of a key: "name=…" and the like.
Status read_attribute(std::string_view text, ApiKey& key) {
  const size_t sign = text.find('=');
  const std::string_view name = text.substr(0, sign);
  const std::string_view value = sign == std::string_view::npos ? "" : text.substr(sign + 1);
  if (name == "name" && !value.empty()) {
    key.name = value;
    return {};
  }
  const bool concurrent = name == "max-concurrent";
  const std::optional<int64_t> count = parse_count(value);
  if ((!concurrent && name != "tokens-per-minute") || !count)
    return fail(ErrorCode::invalid_argument,
                "a key may be followed by name=TEXT, max-concurrent=N and tokens-per-minute=N, not by '{}'",
                text);
  (concurrent ? key.max_concurrent : key.tokens_per_minute) = count;
  return {};
}

}  // namespace

ApiKeys::ApiKeys(std::vector<ApiKey> keys, TenantLimits defaults) {
  if (keys.empty()) tenants_.push_back(std::make_shared<Tenant>("", defaults));
  for (ApiKey& key : keys) {
    const TenantLimits limits{
        .max_concurrent = key.max_concurrent.value_or(defaults.max_concurrent),
        .tokens_per_minute = key.tokens_per_minute.value_or(defaults.tokens_per_minute)};
    tenants_.push_back(std::make_shared<Tenant>(label_of(key), limits));
    keys_.push_back(std::move(key.key));
  }
}

std::shared_ptr<Tenant> ApiKeys::find(std::string_view key) const {
  if (!required()) return tenants_.front();
  std::shared_ptr<Tenant> found;
  for (size_t i = 0; i < keys_.size(); ++i)
    if (equal_in_constant_time(keys_[i], key)) found = tenants_[i];
  return found;
}

Result<std::vector<ApiKey>> read_key_file(const std::string& path) {
  std::ifstream file(path);
  if (!file) return fail(ErrorCode::not_found, "Cannot read the key file '{}'", path);
  std::vector<ApiKey> keys;
  std::unordered_set<std::string> seen;
  int number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    std::istringstream words(line);
    ApiKey key;
    if (!(words >> key.key) || key.key.front() == '#') continue;
    for (std::string word; words >> word;)
      if (const Status read = read_attribute(word, key); !read)
        return fail(ErrorCode::invalid_argument, "The key file '{}', line {}: {}", path, number,
                    read.error().message);
    if (!seen.insert(key.key).second)
      return fail(ErrorCode::invalid_argument,
                  "The key file '{}', line {}: this key stands in an earlier line", path, number);
    keys.push_back(std::move(key));
  }
  if (file.bad()) return fail(ErrorCode::not_found, "Cannot read the key file '{}'", path);
  if (keys.empty()) return fail(ErrorCode::invalid_argument, "The key file '{}' holds no key", path);
  return keys;
}

}  // namespace pagoda
