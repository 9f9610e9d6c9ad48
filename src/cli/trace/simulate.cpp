// `simulate`: a trace under the engine's scheduler in virtual time.
#include <boost/json.hpp>

#include "base/log.h"
#include "cli/arguments.h"
#include "cli/json.h"
#include "cli/terminal.h"
#include "cli/trace/cost_model_file.h"
#include "cli/trace/print_report.h"
#include "cli/trace/recorded_costs.h"
#include "cli/trace/simulator.h"
#include "cli/trace/step_replay.h"

namespace pagoda {

namespace {

Status replay(const SimulateArguments& arguments) {
  PAGODA_TRY(const StepRecording recording, read_recording(arguments.replay));
  PAGODA_TRY(const StepReplay replay, replay_steps(recording));
  if (arguments.report.json)
    print_line(to_json(boost::json::object{{"steps", replay.num_steps},
                                           {"requests", replay.num_requests},
                                           {"identical", replay.difference.empty()},
                                           {"difference", replay.difference}}));
  else
    print_line(fmt::format("{} steps of {} requests were the same", replay.num_steps, replay.num_requests));
  if (replay.difference.empty()) return {};
  return fail(ErrorCode::internal, "{}: another decision than recorded: {}", arguments.replay,
              replay.difference);
}

// Of the machine that the recording named by --pace is of; often it is the one that the costs come from.
Result<Pace> read_pace(const SimulateArguments& arguments, const CostModelFile& costs) {
  if (arguments.pace.empty()) return Pace();
  if (costs.recording && arguments.pace == arguments.report.cost_model)
    return Pace::of(*costs.recording, costs.model);
  PAGODA_TRY(const StepRecording recording, read_recording(arguments.pace));
  return Pace::of(recording, costs.model);
}

}  // namespace

Status execute(const SimulateArguments& arguments) {
  init_logging(LogLevel::warning);
  if (!arguments.replay.empty()) return replay(arguments);
  PAGODA_TRY(const Trace trace, read_trace(arguments.report.trace));
  PAGODA_TRY(CostModelFile costs, read_cost_model(arguments.report.cost_model));
  PAGODA_TRY(Pace pace, read_pace(arguments, costs));
  std::optional<CostModel> first_costs;  // what the server had measured before its first request
  if (costs.recording) first_costs = costs.recording->costs;
  costs.recording.reset();  // as large as the trace
  PAGODA_TRY_STATUS(check_requests_out(arguments.report));
  const ReportOptions report_options = report_options_of(arguments.report, costs.model);
  std::optional<DiskModel> disk;
  if (!arguments.disk_model.empty()) {
    PAGODA_TRY(disk, read_disk_model(arguments.disk_model));
  }
  std::shared_ptr<StepRecorder> recorder;
  if (!arguments.record_steps.empty()) {
    PAGODA_TRY(recorder, StepRecorder::create(arguments.record_steps));
  }
  Progress progress(arguments.report.trace);
  const SimulationOptions options{.engine = arguments.engine,
                                  .kv_tokens = arguments.kv_tokens,
                                  .max_tokens = arguments.max_tokens,
                                  .costs = std::move(costs.model),
                                  .first_costs = std::move(first_costs),
                                  .pace = std::move(pace),
                                  .disk = disk,
                                  .recorder = recorder,
                                  .on_progress = [&](double fraction) { progress.update(fraction); }};
  PAGODA_TRY(const Simulation simulation, simulate(trace, options));
  if (recorder) PAGODA_TRY_STATUS(recorder->finish());
  PAGODA_TRY(boost::json::object report, make_report(trace, simulation.outcomes, report_options));
  report["policy"] = arguments.engine.policy;
  report["steps"] = simulation.num_steps;
  report["busy_seconds"] = simulation.busy_seconds;
  report["preemptions"] = simulation.num_preemptions;
  report["kv_utilisation"] = simulation.kv_utilisation;
  report["kv_tokens"] = simulation.kv_tokens;
  report["stored_pages"] = simulation.num_stored_pages;
  report["loaded_pages"] = simulation.num_loaded_pages;
  return print_report(trace, simulation.outcomes, report_options, arguments.report, report);
}

}  // namespace pagoda
