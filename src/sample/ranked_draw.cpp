#include "sample/ranked_draw.h"

#include <algorithm>
#include <cmath>

namespace pagoda {

namespace {

// The last bucket takes all values more than 32 below the maximum: together they weigh less than the
// resolution of the random numbers.
constexpr float kBucketsPerUnit = static_cast<float>(RankedDraw::kNumBuckets) / 32;

size_t bucket_of(float value, float max) {
  return static_cast<size_t>(
      std::min((max - value) * kBucketsPerUnit, static_cast<float>(RankedDraw::kNumBuckets - 1)));
}

double weight(float value, float max) {
  return std::exp(static_cast<double>(value) - static_cast<double>(max));
}

bool belongs(float value, float floor) {
  return value >= floor && value > -std::numeric_limits<float>::infinity();
}

}  // namespace

RankedDraw::RankedDraw(const Kernels& kernels, TopSelector& selector)
    : kernels_(&kernels), selector_(&selector), weights_(kNumBuckets) {}

int32_t RankedDraw::draw(std::span<const float> values, const RankedPrefix& prefix, double random) {
  std::ranges::fill(weights_, 0.0);
  constexpr size_t kBlock = 512;
  float block_weights[kBlock];
  for (size_t block = 0; block < values.size(); block += kBlock) {
    const auto part = values.subspan(block, std::min(kBlock, values.size() - block));
    kernels_->ops.exponentiate(part.data(), prefix.max, static_cast<int64_t>(part.size()), block_weights);
    for (size_t i = 0; i < part.size(); ++i)
      if (belongs(part[i], prefix.floor)) weights_[bucket_of(part[i], prefix.max)] += block_weights[i];
  }
  const double kept = find(values, prefix, prefix.mass).sum;
  // Sums must exceed the target rather than reach it: the least random number is 0.
  return find(values, prefix, std::nextafter(random * kept, std::numeric_limits<double>::infinity())).token;
}

RankedDraw::Place RankedDraw::find(std::span<const float> values, const RankedPrefix& prefix, double target) {
  size_t bucket = 0;
  size_t last_filled = 0;
  double sum = 0;
  double sum_before_last = 0;
  for (; bucket < weights_.size(); ++bucket) {
    if (weights_[bucket] == 0.0) continue;
    last_filled = bucket;
    sum_before_last = sum;
    sum += weights_[bucket];
    if (sum >= target) break;
  }
  const auto members = selector_->sorted_if(values, [&](float value) {
    return belongs(value, prefix.floor) && bucket_of(value, prefix.max) == last_filled;
  });
  Place place{members.front().token, sum_before_last};
  for (const TokenLogprob& member : members) {
    place = {member.token, place.sum + weight(member.logprob, prefix.max)};
    if (place.sum >= target) break;
  }
  return place;
}

}  // namespace pagoda
