#include "cli/trace/trace_report.h"

#include <algorithm>
#include <cmath>
#include <map>

#include <boost/json.hpp>

namespace pagoda {

namespace {

namespace json = boost::json;

// The value below which a share of them lies, linear between neighbours. `sorted` is not empty.
double quantile(std::span<const double> sorted, double share) {
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<size_t>(at);
  const size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (sorted[high] - sorted[low]) * (at - static_cast<double>(low));
}

json::value spread(std::vector<double> values) {
  if (values.empty()) return nullptr;
  std::ranges::sort(values);
  double sum = 0;
  for (const double value : values) sum += value;
  return json::object{{"mean", sum / static_cast<double>(values.size())},
                      {"p50", quantile(values, 0.5)},
                      {"p90", quantile(values, 0.9)},
                      {"p95", quantile(values, 0.95)},
                      {"p99", quantile(values, 0.99)},
                      {"max", values.back()}};
}

// The requests of one class, or all.
class Group {
 public:
  void add(const TraceRequest& request, const TraceOutcome& outcome, const ReportOptions& options) {
    ++num_requests_;
    if (!outcome.error.empty()) return;
    const double jct = outcome.jct_seconds();
    const double ttft = outcome.ttft_seconds();
    const double tpot = outcome.tpot_seconds();
    jct_.push_back(jct);
    ttft_.push_back(ttft);
    normalised_jct_.push_back(jct / static_cast<double>(outcome.num_output_tokens));
    if (outcome.num_output_tokens > 1) {
      tpot_.push_back(tpot);
      largest_gap_.push_back(static_cast<double>(outcome.largest_gap_ns) * 1e-9);
    }
    prompt_tokens_ += request.num_prompt_tokens;
    cached_tokens_ += outcome.num_cached_tokens;
    output_tokens_ += outcome.num_output_tokens;
    if (ttft <= options.objectives.ttft_seconds && tpot <= options.objectives.tpot_seconds) ++num_good_;
    if (outcome.forecast_ttft_seconds >= 0) {
      const double error = std::abs(outcome.forecast_ttft_seconds - ttft);
      forecast_error_.push_back(error);
      forecast_relative_error_.push_back(error / ttft);
    }
    if (outcome.waited_ns >= 0) {
      waited_ += static_cast<double>(outcome.waited_ns) * 1e-9;
      latency_of_waited_ += jct;
    }
    if (!options.isolated_seconds) return;
    const double isolated = options.isolated_seconds(request);
    slowdown_.push_back(jct / isolated);
    delayed_ += std::max(jct - isolated, 0.0);
    latency_ += jct;
  }

  json::object to_object() const {
    return {{"requests", num_requests_},
            {"completed", static_cast<int64_t>(jct_.size())},
            {"prompt_tokens", prompt_tokens_},
            {"cached_tokens", cached_tokens_},
            {"output_tokens", output_tokens_},
            {"jct", spread(jct_)},
            {"ttft", spread(ttft_)},
            {"tpot", spread(tpot_)},
            {"largest_gap", spread(largest_gap_)},
            {"normalised_jct", spread(normalised_jct_)},
            {"slowdown", spread(slowdown_)},
            {"queue_share", share(waited_, latency_of_waited_)},
            {"delay_share", share(delayed_, latency_)},
            {"forecasts", static_cast<int64_t>(forecast_error_.size())},
            {"forecast_error", spread(forecast_error_)},
            {"forecast_relative_error", spread(forecast_relative_error_)},
            {"goodput", static_cast<double>(num_good_) / static_cast<double>(num_requests_)}};
  }

 private:
  static json::value share(double part, double whole) {
    return whole > 0 ? json::value(part / whole) : json::value(nullptr);
  }

  int64_t num_requests_ = 0;
  int64_t num_good_ = 0;
  int64_t prompt_tokens_ = 0;
  int64_t cached_tokens_ = 0;
  int64_t output_tokens_ = 0;
  double waited_ = 0;
  double latency_of_waited_ = 0;
  double delayed_ = 0;
  double latency_ = 0;
  std::vector<double> jct_;
  std::vector<double> ttft_;
  std::vector<double> tpot_;
  std::vector<double> largest_gap_;
  std::vector<double> normalised_jct_;
  std::vector<double> slowdown_;
  std::vector<double> forecast_error_;
  std::vector<double> forecast_relative_error_;
};

}  // namespace

double TraceOutcome::tpot_seconds() const {
  if (num_output_tokens < 2) return 0;
  return static_cast<double>(end_ns - first_token_ns) * 1e-9 / static_cast<double>(num_output_tokens - 1);
}

Result<json::object> make_report(const Trace& trace, std::span<const TraceOutcome> outcomes,
                                 const ReportOptions& options) {
  Group all;
  std::map<std::string, Group> classes;
  std::map<std::string, int64_t> errors;
  int64_t num_counted = 0;
  int64_t first_ns = INT64_MAX;
  int64_t last_ns = INT64_MIN;
  for (size_t i = 0; i < outcomes.size(); ++i) {
    const TraceRequest& request = trace.requests[i];
    if (request.arrival_ns < options.warm_up_ns) continue;
    ++num_counted;
    all.add(request, outcomes[i], options);
    if (!request.class_name.empty()) classes[request.class_name].add(request, outcomes[i], options);
    if (!outcomes[i].error.empty()) ++errors[outcomes[i].error];
    first_ns = std::min(first_ns, outcomes[i].arrival_ns);
    last_ns = std::max(last_ns, outcomes[i].end_ns);
  }
  if (num_counted == 0)
    return fail(ErrorCode::invalid_argument, "all requests of the trace come during the warm-up");
  const double seconds = std::max(static_cast<double>(last_ns - first_ns) * 1e-9, 1e-9);
  json::object report = {
      {"trace", json::parse(trace.header)}, {"seconds", seconds}, {"all", all.to_object()}};
  json::object& of_all = report["all"].as_object();
  report["output_tokens_per_second"] = static_cast<double>(of_all["output_tokens"].as_int64()) / seconds;
  json::object& by_class = report["classes"].emplace_object();
  for (const auto& [name, group] : classes) by_class[name] = group.to_object();
  json::object& by_error = report["errors"].emplace_object();
  for (const auto& [text, count] : errors) by_error[text] = count;
  return report;
}

json::object to_object(const TraceRequest& request, const TraceOutcome& outcome,
                       const ReportOptions& options) {
  json::object object = {{"arrival", static_cast<double>(request.arrival_ns) * 1e-9},
                         {"class", request.class_name},
                         {"key", request.key},
                         {"prompt_tokens", request.num_prompt_tokens},
                         {"output_tokens", request.num_output_tokens}};
  if (!outcome.error.empty()) {
    object["error"] = outcome.error;
    return object;
  }
  object["cached_tokens"] = outcome.num_cached_tokens;
  object["jct"] = outcome.jct_seconds();
  object["ttft"] = outcome.ttft_seconds();
  object["tpot"] = outcome.tpot_seconds();
  object["largest_gap"] = static_cast<double>(outcome.largest_gap_ns) * 1e-9;
  if (outcome.forecast_ttft_seconds >= 0) object["forecast_ttft"] = outcome.forecast_ttft_seconds;
  if (outcome.waited_ns >= 0) object["waited"] = static_cast<double>(outcome.waited_ns) * 1e-9;
  if (options.isolated_seconds) object["isolated"] = options.isolated_seconds(request);
  return object;
}

}  // namespace pagoda
