// An answer that one function on a worker thread computes.
#pragma once

#include <functional>

#include "server/http/handler.h"
#include "server/worker_pool.h"

namespace pagoda {

// `workers` must outlive the operation. The function is not called if the client has gone before its turn.
Answer answer_on_worker(WorkerPool& workers, std::function<HttpResponse()> compute);

}  // namespace pagoda
