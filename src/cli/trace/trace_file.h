// A trace of requests: when they come, how long they are, and what of their prompts they share. The format is
// that of bench/traces/trace.py.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace pagoda {

// The first `num_tokens` tokens of a group that prompts share.
struct TraceSegment {
  std::string group;
  int64_t num_tokens = 0;
};

struct TraceRequest {
  int64_t arrival_ns = 0;  // since the start of the trace
  int64_t num_prompt_tokens = 0;
  int64_t num_output_tokens = 0;
  std::vector<TraceSegment> prefix;  // in order; what the prompt has beyond it is its own
  std::string key;                   // the client
  std::string class_name;            // what reports tell apart
};

struct Trace {
  std::string header;  // the first line as it stands: name, generator, seed
  std::vector<TraceRequest> requests;
};

// Ids that prompts are made of: [first, last].
struct TokenRange {
  int32_t first = 0;
  int32_t last = 0;
};

// invalid_argument names file, line and member: arrivals must ascend, prompts and answers have at least one
// token, and no prefix is longer than its prompt.
Result<Trace> read_trace(const std::string& path);

// The prompt of trace.requests[index]: ids are hashes of (group, position), or of (header, salt, index,
// position) where they are the request's own. Hence prompts agree exactly where their prefixes do; another
// salt gives prompts that share nothing with those of the first.
std::vector<int32_t> make_prompt(const Trace& trace, size_t index, TokenRange range, const std::string& salt);

}  // namespace pagoda
