// Tells the sinks what happened in a step.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/sequence.h"

namespace pagoda {

// Collects during a step, tells at its end. Owned by the engine thread; allocates nothing after construction.
class Publisher {
 public:
  Publisher(int32_t max_sequences, int32_t max_requests);

  // A sequence whose output has changed or ended; the last one of a request to end completes it.
  void add(Sequence& sequence);
  bool has_news() const { return !news_.empty(); }
  // Requests all of whose sequences have finished.
  std::span<RequestState* const> finished() const { return finished_; }

  // Tells at once how many tokens of the prompt are known, if that is asked for and news.
  static void tell_progress(RequestState& request, int64_t num_known_tokens, int64_t now_ns);

  // Calls the sinks: updates first, then the ends.
  void publish();
  void clear();

 private:
  void publish_update(Sequence& sequence);

  std::vector<Sequence*> news_;
  std::vector<RequestState*> finished_;
};

}  // namespace pagoda
