// A request as a trace: a server span around queue, prefill and decode.
#pragma once

#include <vector>

#include "server/http/handler.h"
#include "server/id_source.h"
#include "server/tracing/span.h"

namespace pagoda {

// The spans of a request that has just ended; none if its caller's trace is not sampled. `route`: the path as
// the routes have it. `now_ns`: since the Unix epoch.
std::vector<Span> request_spans(const RequestRecord& record, std::string_view route, int64_t now_ns,
                                IdSource& ids);

}  // namespace pagoda
