// What a trace's requests went through, and the figures that sum it up: the same for a server over HTTP and a
// simulation, so that both can be compared.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <boost/json/fwd.hpp>

#include "cli/trace/trace_file.h"

namespace pagoda {

// Times are of one clock, in nanoseconds.
struct TraceOutcome {
  int64_t arrival_ns = 0;
  int64_t first_token_ns = 0;
  int64_t end_ns = 0;          // of the last token
  int64_t largest_gap_ns = 0;  // between two tokens of the stream, or what came as one
  int64_t num_output_tokens = 0;
  int64_t num_cached_tokens = 0;      // of the prompt
  int64_t waited_ns = -1;             // no step computed anything of it; -1: not known
  double forecast_ttft_seconds = -1;  // as foretold when it came; -1: not known
  std::string error;                  // it failed: nothing else but arrival_ns and end_ns holds

  double jct_seconds() const { return static_cast<double>(end_ns - arrival_ns) * 1e-9; }
  double ttft_seconds() const { return static_cast<double>(first_token_ns - arrival_ns) * 1e-9; }
  // 0 where there is but one token.
  double tpot_seconds() const;
};

// What a user will bear.
struct Objectives {
  double ttft_seconds = 0;
  double tpot_seconds = 0;
};

struct ReportOptions {
  Objectives objectives;
  // Seconds that a request takes on an idle machine; none: slowdown and delay share are not known.
  std::function<double(const TraceRequest&)> isolated_seconds;
  int64_t warm_up_ns = 0;  // requests that arrive earlier are left out of the figures
};

// One object: figures of all requests and of each class. outcomes[i] is of trace.requests[i].
//   jct, ttft, tpot, largest_gap   seconds from arrival to the end and to the first token, between tokens
//   normalised_jct                 seconds of jct for each output token
//   slowdown                       jct / isolated time
//   queue_share                    of all requests together: time in which no step computed anything of
//                                  them / sum of jct
//   delay_share                    likewise: 1 - sum of isolated times / sum of jct, from 0 on; sharing steps
//                                  with others included
//   goodput                        share of the requests that met both objectives
//   forecasts                      requests of which one is known
//   forecast_error                 |foretold ttft - ttft| in seconds
//   forecast_relative_error        that by ttft
Result<boost::json::object> make_report(const Trace& trace, std::span<const TraceOutcome> outcomes,
                                        const ReportOptions& options);

// One line for each request: what it was and what it went through.
boost::json::object to_object(const TraceRequest& request, const TraceOutcome& outcome,
                              const ReportOptions& options);

}  // namespace pagoda
