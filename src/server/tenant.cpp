#include "server/tenant.h"

#include <algorithm>
#include <cmath>

namespace pagoda {
namespace {

constexpr double kNsPerMinute = 60e9;

}  // namespace

bool Tenant::enter() {
  std::lock_guard lock(mutex_);
  if (limits_.max_concurrent > 0 && num_entered_ >= limits_.max_concurrent) return false;
  ++num_entered_;
  return true;
}

void Tenant::leave() {
  std::lock_guard lock(mutex_);
  --num_entered_;
}

void Tenant::fill(int64_t now_ns) {
  const auto capacity = static_cast<double>(limits_.tokens_per_minute);
  const double added =
      filled_ns_ < 0 ? capacity : static_cast<double>(now_ns - filled_ns_) / kNsPerMinute * capacity;
  num_tokens_ = std::min(num_tokens_ + added, capacity);
  filled_ns_ = now_ns;
}

int64_t Tenant::take_prompt(int64_t num_tokens, int64_t now_ns) {
  if (limits_.tokens_per_minute <= 0) return 0;
  std::lock_guard lock(mutex_);
  fill(now_ns);
  const auto capacity = static_cast<double>(limits_.tokens_per_minute);
  const double missing = std::min(static_cast<double>(num_tokens), capacity) - num_tokens_;
  if (missing > 0) return std::max<int64_t>(1, std::llround(std::ceil(missing / capacity * kNsPerMinute)));
  num_tokens_ -= static_cast<double>(num_tokens);
  return 0;
}

void Tenant::give_back(int64_t num_tokens) {
  take_generated(-num_tokens);
}

void Tenant::take_generated(int64_t num_tokens) {
  if (limits_.tokens_per_minute <= 0) return;
  std::lock_guard lock(mutex_);
  num_tokens_ -= static_cast<double>(num_tokens);
}

}  // namespace pagoda
