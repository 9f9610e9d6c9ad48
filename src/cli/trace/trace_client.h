// Replays a trace over HTTP against any server with OpenAI's /v1/completions.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/trace/trace_file.h"
#include "cli/trace/trace_report.h"

namespace pagoda {

inline constexpr int64_t kPredictLeadNs = 10'000'000;

struct ReplayOptions {
  std::string url;      // of the API, as http://127.0.0.1:8000/v1
  std::string model;    // "": the first that the server lists
  std::string api_key;  // "": none
  TokenRange ids;
  std::string salt;
  int num_clients = 0;  // 0: requests come as the trace says; else so many at once, arrivals do not count
  double timeout_seconds = 0;
  bool predict = false;  // ask the server's /predict how long each request will wait for its first token
  std::function<void(double)> on_progress;  // 0 … 1
};

// One outcome for each request of the trace, failed ones included. Prompts are token ids, answers have forced
// lengths (max_tokens with ignore_eos), the client's name goes along as `user`. One thread, so that the load
// generator takes little from a server on the same machine. Forecasts are asked for kPredictLeadNs before a
// request is due, so that it is sent in time whether or not the answer is there; one that comes later is not
// kept, since it might count the request itself. Errors: the server cannot be reached at all, or tells no
// forecasts though it should.
Result<std::vector<TraceOutcome>> replay_trace(const Trace& trace, const ReplayOptions& options);

}  // namespace pagoda
