// What decides whether a request may run, beside its body: whose it is and by when it must be answered.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>

#include "server/http/message.h"
#include "server/openai/api_error.h"
#include "server/tenant.h"

namespace pagoda {

// Why a request was refused although nothing was wrong with it. The engine counts the refusals of its queue.
enum class Refusal { key_concurrency, key_tokens, deadline };

// Thread-safe.
class RefusalCounts {
 public:
  void count(Refusal reason) { ++counts_[static_cast<size_t>(reason)]; }
  uint64_t of(Refusal reason) const { return counts_[static_cast<size_t>(reason)]; }

 private:
  std::array<std::atomic<uint64_t>, 3> counts_{};
};

using Deadline = std::chrono::steady_clock::time_point;

// An error in OpenAI's shape -> the same in another API's.
using ReshapeError = HttpResponse (*)(HttpResponse);

struct RequestTerms {
  std::shared_ptr<Tenant> tenant;
  // From the headers `timeout` or `x-request-timeout` (seconds): the answer must have ended by then.
  std::optional<Deadline> deadline;
  // From the hints of OpenAI's SDKs: how long they wait for the head of an answer. Binds answers that come as
  // a whole; the gaps of a stream are bounded by the client alone.
  std::optional<Deadline> patience;
  ReshapeError reshape_error = nullptr;  // nullptr: errors stay in OpenAI's shape
};

// 400 if a deadline is not a positive number of seconds; hints that are not are ignored.
ApiResult<RequestTerms> read_terms(const HttpRequest& request);

// What a request asks for, once its prompts are known.
struct Demand {
  int64_t num_prompt_tokens = 0;
  std::optional<Deadline> deadline;
  double queue_wait_seconds = 0;  // as the engine expects it
};
// Why the caller's limits or the deadline do not let it run; nothing if they do, and then the prompts' tokens
// are taken from the tenant's.
std::optional<ApiError> check_terms(const Demand& demand, Tenant& tenant, RefusalCounts& refusals);

ApiError too_many_concurrent(const Tenant& tenant, int64_t retry_after_seconds);
ApiError token_rate_exceeded(const Tenant& tenant, int64_t wait_ns);
ApiError deadline_exceeded();
// Refused at once: it would wait longer than its deadline allows.
ApiError deadline_unreachable(double wait_seconds);

}  // namespace pagoda
