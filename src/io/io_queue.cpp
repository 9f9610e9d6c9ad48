#include "io/io_queue.h"

#include <utility>

namespace pagoda {

size_t take_results(std::deque<IoResult>& ended, std::span<IoResult> results) {
  size_t count = 0;
  for (; count < results.size() && !ended.empty(); ++count) {
    results[count] = std::move(ended.front());
    ended.pop_front();
  }
  return count;
}

}  // namespace pagoda
