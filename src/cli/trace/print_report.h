// From the options of a report to its figures on standard output, for every command that has outcomes of a
// trace.
#pragma once

#include <optional>
#include <span>

#include <boost/json/object.hpp>

#include "cli/arguments.h"
#include "cli/trace/trace_report.h"
#include "sched/cost_model.h"

namespace pagoda {

// `costs` tell how long requests take on an idle machine; none: that is not known.
ReportOptions report_options_of(const ReportArguments& arguments, std::optional<CostModel> costs);

// io if arguments.requests_out cannot be written, before a run whose outcomes would be lost.
Status check_requests_out(const ReportArguments& arguments);

// Prints `report`, as JSON or as a table, and writes arguments.requests_out.
Status print_report(const Trace& trace, std::span<const TraceOutcome> outcomes, const ReportOptions& options,
                    const ReportArguments& arguments, const boost::json::object& report);

}  // namespace pagoda
