// A draw from the best of many values in descending order, without sorting them: values are weighed in narrow
// buckets, and only the two buckets in which something is decided are put in order.
//
//   bucket:  0 = [max, max - width)   1   2  …          weights add up from the left
//            |------------- kept: mass -----|cut
//            |---- random * kept ---|token
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "kernels/kernels.h"
#include "sample/top_selector.h"

namespace pagoda {

// What to draw from: the shortest prefix of the values >= floor, in descending order (ties by id), that holds
// `mass`, in units of exp(value - max); all of them if they hold less.
struct RankedPrefix {
  float max = 0.0f;  // the greatest value
  float floor = -std::numeric_limits<float>::infinity();
  double mass = std::numeric_limits<double>::infinity();
};

// Allocates nothing after construction. Not thread-safe.
class RankedDraw {
 public:
  static constexpr size_t kNumBuckets = 32 * 128;

  // Borrows the selector's scratch.
  RankedDraw(const Kernels& kernels, TopSelector& selector);

  // random in [0, 1): the token at which the sum of weights first exceeds random * (weight of the prefix). At
  // least one value must be >= floor.
  int32_t draw(std::span<const float> values, const RankedPrefix& prefix, double random);

 private:
  struct Place {
    int32_t token = 0;
    double sum = 0;  // of the weights up to the token
  };
  // The first place at which the sum reaches `target`, or the last one.
  Place find(std::span<const float> values, const RankedPrefix& prefix, double target);

  const Kernels* kernels_;
  TopSelector* selector_;
  std::vector<double> weights_;  // per bucket
};

}  // namespace pagoda
