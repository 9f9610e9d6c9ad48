// From the options of a report to its figures on standard output, for every command that has outcomes of a
// trace.
#pragma once

#include <span>

#include <boost/json/object.hpp>

#include "cli/arguments.h"
#include "cli/trace/trace_report.h"

namespace pagoda {

// Reads the cost model, if one is named.
Result<ReportOptions> report_options_of(const ReportArguments& arguments);

// Prints `report`, as JSON or as a table, and writes arguments.requests_out.
Status print_report(const Trace& trace, std::span<const TraceOutcome> outcomes, const ReportOptions& options,
                    const ReportArguments& arguments, const boost::json::object& report);

}  // namespace pagoda
