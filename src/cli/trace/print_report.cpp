#include "cli/trace/print_report.h"

#include <cmath>
#include <fstream>

#include <boost/json.hpp>

#include "cli/json.h"
#include "cli/terminal.h"
#include "cli/trace/cost_model_file.h"

namespace pagoda {

namespace {

namespace json = boost::json;

constexpr int64_t kIsolatedChunk = 256;  // the engine's default

// "1.234", or a dash for what is not known.
std::string number_at(const json::object& figures, std::string_view name, std::string_view statistic) {
  const json::value* value = figures.if_contains(name);
  if (value && value->is_object()) value = value->get_object().if_contains(statistic);
  if (!value || !value->is_number()) return "-";
  return fmt::format("{:.3f}", value->to_number<double>());
}

void print_group(std::string_view name, const json::object& figures) {
  print_line(fmt::format("{:<10}{:>9}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>9}", name,
                         figures.at("completed").as_int64(), number_at(figures, "jct", "mean"),
                         number_at(figures, "jct", "p50"), number_at(figures, "jct", "p99"),
                         number_at(figures, "ttft", "mean"), number_at(figures, "ttft", "p99"),
                         number_at(figures, "tpot", "mean"), number_at(figures, "slowdown", "mean"),
                         number_at(figures, "queue_share", ""), number_at(figures, "goodput", "")));
}

void print_forecasts(const json::object& figures) {
  if (figures.at("forecasts").as_int64() == 0) return;
  print_line(fmt::format(
      "{} forecasts of the TTFT were off by (p50, p90): {} and {} s, {} and {} of the TTFT",
      figures.at("forecasts").as_int64(), number_at(figures, "forecast_error", "p50"),
      number_at(figures, "forecast_error", "p90"), number_at(figures, "forecast_relative_error", "p50"),
      number_at(figures, "forecast_relative_error", "p90")));
}

void print_table(const json::object& report) {
  print_line(fmt::format("{:.1f} s, {:.1f} output tokens/s", report.at("seconds").as_double(),
                         report.at("output_tokens_per_second").as_double()));
  print_line(bold(
      fmt::format("{:<10}{:>9}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>9}", "class", "requests",
                  "JCT mean", "p50", "p99", "TTFT mean", "p99", "TPOT", "slowdown", "queueing", "goodput"),
      Stream::out));
  print_group("all", report.at("all").as_object());
  for (const auto& [name, figures] : report.at("classes").as_object()) print_group(name, figures.as_object());
  print_forecasts(report.at("all").as_object());
  for (const auto& [text, count] : report.at("errors").as_object())
    print_line(fmt::format("failed: {} × {}", count.as_int64(), std::string_view(text)));
}

Status write_requests(const Trace& trace, std::span<const TraceOutcome> outcomes,
                      const ReportOptions& options, const std::string& path) {
  std::ofstream file(path, std::ios::binary);
  for (size_t i = 0; i < outcomes.size(); ++i)
    file << to_json(to_object(trace.requests[i], outcomes[i], options)) << '\n';
  if (!file.flush()) return fail(ErrorCode::io, "{}: cannot be written", path);
  return {};
}

}  // namespace

ReportOptions report_options_of(const ReportArguments& arguments, std::optional<CostModel> costs) {
  ReportOptions options{
      .objectives = {.ttft_seconds = arguments.ttft_ms / 1000, .tpot_seconds = arguments.tpot_ms / 1000},
      .warm_up_ns = std::llround(arguments.warm_up_seconds * 1e9)};
  if (costs)
    options.isolated_seconds = [model = *std::move(costs)](const TraceRequest& request) {
      return isolated_seconds(model, request.num_prompt_tokens, request.num_output_tokens, kIsolatedChunk);
    };
  return options;
}

Status check_requests_out(const ReportArguments& arguments) {
  const std::string& path = arguments.requests_out;
  if (!path.empty() && !std::ofstream(path, std::ios::binary | std::ios::app))  // as it was, if the run fails
    return fail(ErrorCode::io, "{}: cannot be written", path);
  return {};
}

Status print_report(const Trace& trace, std::span<const TraceOutcome> outcomes, const ReportOptions& options,
                    const ReportArguments& arguments, const json::object& report) {
  if (!arguments.requests_out.empty())
    PAGODA_TRY_STATUS(write_requests(trace, outcomes, options, arguments.requests_out));
  if (arguments.json)
    print_line(to_json(report));
  else
    print_table(report);
  return {};
}

}  // namespace pagoda
