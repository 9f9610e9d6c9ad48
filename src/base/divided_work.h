// Work of a start that is cut into parts and done by threads of its own.
#pragma once

#include <cstddef>
#include <functional>

#include "base/result.h"

namespace pagoda {

struct WorkProgress {
  void (*report)(void* context, double fraction) = nullptr;  // called by the thread that waits, 0 … 1
  void* context = nullptr;
};

// Calls body(part, worker) for parts [0, num_parts), in ascending order, on up to num_threads threads, and
// waits for them. No two calls with the same worker, 0 … num_threads - 1, overlap. An error ends the work;
// the first one is given back.
//
// The threads make way for others: what else a start does, such as building the vocabulary, has one thread
// and takes as long as the weights on all, and would be left alone with the processor at the end. As many
// threads as there are cores have one each, since a core on which other work ends takes over a waiting thread
// of another only after a while.
Status divide_work(size_t num_parts, int num_threads, const WorkProgress& progress,
                   const std::function<Status(size_t part, int worker)>& body);

}  // namespace pagoda
