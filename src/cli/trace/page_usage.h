// How much of the pages that sequences hold is filled with tokens.
#pragma once

#include <cstdint>
#include <vector>

#include "model/model.h"

namespace pagoda {

// Sums over steps, weighted with their time; pages that several sequences share count once. Sequences that
// have no tokens in a step are not seen.
class PageUsage {
 public:
  void add(const ForwardBatch& batch, double seconds);
  // Live tokens / slots of the pages that hold them, 0 … 1; 1 before anything was added.
  double utilisation() const { return slots_ > 0 ? tokens_ / slots_ : 1.0; }

 private:
  std::vector<int32_t> filled_;  // [page] tokens in this step; -1: not seen yet
  std::vector<PageId> seen_;
  double tokens_ = 0;
  double slots_ = 0;
};

}  // namespace pagoda
