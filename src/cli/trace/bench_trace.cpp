// `bench trace`: a trace against a running server.
#include <boost/json.hpp>

#include "cli/arguments.h"
#include "cli/json.h"
#include "cli/terminal.h"
#include "cli/trace/cost_model_file.h"
#include "cli/trace/print_report.h"
#include "cli/trace/trace_client.h"

namespace pagoda {

Status execute(const BenchTraceArguments& arguments) {
  PAGODA_TRY(const Trace trace, read_trace(arguments.report.trace));
  std::optional<CostModel> costs;
  if (!arguments.report.cost_model.empty()) {
    PAGODA_TRY(CostModelFile file, read_cost_model(arguments.report.cost_model));
    costs = std::move(file.model);
  }
  PAGODA_TRY_STATUS(check_requests_out(arguments.report));
  const ReportOptions report_options = report_options_of(arguments.report, std::move(costs));
  Progress progress(arguments.report.trace);
  ReplayOptions options{.url = arguments.url,
                        .model = arguments.served_model,
                        .api_key = arguments.api_key,
                        .ids = arguments.ids,
                        .salt = arguments.salt,
                        .num_clients = arguments.num_clients,
                        .timeout_seconds = arguments.timeout_seconds,
                        .predict = arguments.predict,
                        .on_progress = [&](double fraction) { progress.update(fraction); }};
  PAGODA_TRY(const std::vector<TraceOutcome> outcomes, replay_trace(trace, options));
  PAGODA_TRY(const boost::json::object report, make_report(trace, outcomes, report_options));
  return print_report(trace, outcomes, report_options, arguments.report, report);
}

}  // namespace pagoda
