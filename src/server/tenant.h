// Who sends requests and how much they may ask for: one tenant per API key, one for everybody where no key is
// needed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

namespace pagoda {

// 0: no limit.
struct TenantLimits {
  int64_t max_concurrent = 0;     // requests
  int64_t tokens_per_minute = 0;  // of prompts and of answers
};

// A key as it was configured; a limit that it does not have is the server's default.
struct ApiKey {
  std::string key;
  std::string name;  // for logs; empty: made from a hash of the key
  std::optional<int64_t> max_concurrent = {};
  std::optional<int64_t> tokens_per_minute = {};
};

// Thread-safe. Tokens come from a bucket that holds a minute's worth and fills evenly. A prompt is taken out
// when it is admitted; what is generated is taken out as it comes and may leave the bucket in debt, which
// those who come next wait for.
class Tenant {
 public:
  Tenant(std::string label, TenantLimits limits) : label_(std::move(label)), limits_(limits) {}

  const std::string& label() const { return label_; }  // never the key
  const TenantLimits& limits() const { return limits_; }
  // Tells tenants apart in the engine's queue.
  uint64_t client() const { return std::hash<std::string>{}(label_); }

  // False if max_concurrent requests have entered and not left.
  bool enter();
  void leave();
  // Takes the prompt's tokens and returns 0; or takes none and returns the nanoseconds until it would. A
  // prompt larger than the bucket is admitted when the bucket is full.
  int64_t take_prompt(int64_t num_tokens, int64_t now_ns);
  void give_back(int64_t num_tokens);
  void take_generated(int64_t num_tokens);

 private:
  void fill(int64_t now_ns);

  const std::string label_;
  const TenantLimits limits_;
  std::mutex mutex_;
  int64_t num_entered_ = 0;
  double num_tokens_ = 0;
  int64_t filled_ns_ = -1;  // -1: never used, so full
};

// One request's place among its tenant's; given up when it is destroyed, or before.
class TenantPlace {
 public:
  explicit TenantPlace(std::shared_ptr<Tenant> tenant) : tenant_(std::move(tenant)) {}
  ~TenantPlace() { leave(); }
  TenantPlace(const TenantPlace&) = delete;
  TenantPlace& operator=(const TenantPlace&) = delete;

  bool enter() { return entered_ = tenant_->enter(); }
  void leave() {
    if (std::exchange(entered_, false)) tenant_->leave();
  }
  Tenant& tenant() const { return *tenant_; }

 private:
  const std::shared_ptr<Tenant> tenant_;
  bool entered_ = false;
};

}  // namespace pagoda
