#include "server/admission.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

namespace pagoda {
namespace {

constexpr double kLongestSeconds = 7.0 * 24 * 3600;  // longer ones bound nothing
constexpr int64_t kNsPerSecond = 1'000'000'000;

std::optional<Deadline> after_seconds(std::string_view text) {
  double seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (!std::isfinite(seconds) || seconds <= 0) return std::nullopt;
  const std::chrono::duration<double> duration(std::min(seconds, kLongestSeconds));
  return std::chrono::steady_clock::now() +
         std::chrono::duration_cast<std::chrono::steady_clock::duration>(duration);
}

ApiError rate_limited(std::string message, int64_t retry_after_seconds) {
  return {.status = 429,
          .message = fmt::format("{} Please retry after {} seconds.", message, retry_after_seconds),
          .type = "rate_limit_error",
          .code = "rate_limit_exceeded",
          .retry_after_seconds = retry_after_seconds};
}

}  // namespace

ApiResult<RequestTerms> read_terms(const HttpRequest& request) {
  RequestTerms terms{.tenant = request.tenant};
  for (const char* name : {"timeout", "x-request-timeout"}) {
    const std::string_view text = request.header(name);
    if (text.empty()) continue;
    terms.deadline = after_seconds(text);
    if (!terms.deadline)
      return std::unexpected(bad_parameter(
          name, "invalid_value", fmt::format("The header '{}' must be a positive number of seconds.", name)));
    break;
  }
  for (const char* name : {"x-stainless-read-timeout", "x-stainless-timeout"})
    if (!terms.patience) terms.patience = after_seconds(request.header(name));
  return terms;
}

std::optional<ApiError> check_terms(const Demand& demand, Tenant& tenant, RefusalCounts& refusals) {
  const auto now = std::chrono::steady_clock::now();
  const std::chrono::duration<double> wait(demand.queue_wait_seconds);
  if (demand.deadline && now + wait > *demand.deadline) {
    refusals.count(Refusal::deadline);
    return deadline_unreachable(demand.queue_wait_seconds);
  }
  const int64_t now_ns = std::chrono::nanoseconds(now.time_since_epoch()).count();
  const int64_t wait_ns = tenant.take_prompt(demand.num_prompt_tokens, now_ns);
  if (wait_ns <= 0) return std::nullopt;
  refusals.count(Refusal::key_tokens);
  return token_rate_exceeded(tenant, wait_ns);
}

ApiError too_many_concurrent(const Tenant& tenant, int64_t retry_after_seconds) {
  return rate_limited(fmt::format("{} requests of this API key are being served, which is its limit.",
                                  tenant.limits().max_concurrent),
                      retry_after_seconds);
}

ApiError token_rate_exceeded(const Tenant& tenant, int64_t wait_ns) {
  return rate_limited(
      fmt::format("This API key has used its {} tokens per minute.", tenant.limits().tokens_per_minute),
      (wait_ns + kNsPerSecond - 1) / kNsPerSecond);
}

ApiError deadline_exceeded() {
  return {.status = 504,
          .message = "The answer was not complete by the request's deadline; the request was cancelled.",
          .type = "timeout_error",
          .code = "deadline_exceeded"};
}

ApiError deadline_unreachable(double wait_seconds) {
  return {.status = 504,
          .message = fmt::format("The request would wait for about {:.0f} seconds, beyond its deadline.",
                                 std::ceil(wait_seconds)),
          .type = "timeout_error",
          .code = "deadline_exceeded"};
}

}  // namespace pagoda
