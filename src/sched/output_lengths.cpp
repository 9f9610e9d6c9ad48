#include "sched/output_lengths.h"

#include <algorithm>
#include <cmath>

namespace pagoda {

namespace {

// In outputs: what the first guess counts, and what of it is never forgotten, so that no length is
// impossible.
constexpr double kGuess = 8;
constexpr double kDoubt = 0.2;
// What the first output is expected to have. The mean of the first guess would not do: nearly all of it comes
// from lengths that hardly ever occur.
constexpr int64_t kFirstTokens = 64;
constexpr double kMostWeight = 1e100;
// As short as an output counts: the slowdown of one token is nobody's concern, and a slight chance of one
// would outweigh all that is likely.
constexpr double kLeastTokens = 16;

}  // namespace

const OutputLengths::Buckets OutputLengths::kLongest = [] {
  Buckets longest{};
  for (size_t i = 0; i < kNumBuckets; ++i) {
    const int64_t before = i == 0 ? 0 : longest[i - 1];
    longest[i] = before + std::max<int64_t>(before / 7, 1);
  }
  return longest;
}();

OutputLengths::OutputLengths() : guess_(kGuess) {
  publish();
}

size_t OutputLengths::bucket_of(int64_t num_tokens) {
  const auto* const bucket = std::ranges::lower_bound(kLongest, num_tokens);
  return std::min(static_cast<size_t>(bucket - kLongest.begin()), kNumBuckets - 1);
}

int64_t OutputLengths::next_age(int64_t num_generated) {
  return std::max(kLongest[bucket_of(num_generated + 1)], num_generated + 1);
}

void OutputLengths::add(int64_t num_tokens, End end) {
  (end == End::cut ? cut_ : weights_)[bucket_of(num_tokens)] += newest_;
  newest_ *= 1 + 1 / kMemory;
  if (newest_ > kMostWeight) {
    for (double& weight : weights_) weight /= newest_;
    for (double& weight : cut_) weight /= newest_;
    guess_ /= newest_;
    newest_ = 1;
  }
  publish();
}

double OutputLengths::middle_of(size_t bucket) {
  const int64_t before = bucket == 0 ? 0 : kLongest[bucket - 1];
  return 0.5 * static_cast<double>(before + 1 + kLongest[bucket]);
}

std::array<double, OutputLengths::kNumBuckets + 1> OutputLengths::life_table(double guess) const {
  std::array<double, kNumBuckets + 1> shares{};
  double left = 1;
  for (size_t i = 0; i < kNumBuckets; ++i) {
    const double ending = weights_[i] + guess;
    // Those that were cut within the bucket have passed half of it.
    const double reached = reached_[i] + guess * static_cast<double>(kNumBuckets - i) - 0.5 * cut_[i];
    shares[i] = reached > 0 ? left * std::min(ending / reached, 1.0) : 0;
    left -= shares[i];
  }
  shares[kNumBuckets] = std::max(left, 0.0);
  return shares;
}

void OutputLengths::publish() {
  for (size_t i = kNumBuckets; i-- > 0;) reached_[i] = reached_[i + 1] + weights_[i] + cut_[i];
  const auto seen = life_table(0);
  share_from_[kNumBuckets] = seen[kNumBuckets];
  for (size_t i = kNumBuckets; i-- > 0;) {
    share_from_[i] = share_from_[i + 1] + seen[i];
    tokens_from_[i] = tokens_from_[i + 1] + seen[i] * middle_of(i);
  }
  const auto expected = life_table((guess_ + newest_ * kDoubt) / kNumBuckets);
  for (size_t i = 0; i < kNumBuckets; ++i)
    share_[i].store(expected[i] + (i + 1 == kNumBuckets ? expected[kNumBuckets] : 0),
                    std::memory_order_relaxed);
}

double OutputLengths::expected_left(int64_t num_generated, int64_t most) const {
  if (most <= 0) return 0;
  const size_t first = bucket_of(num_generated + 1);
  // From there on it gets all that it may.
  const int64_t end = num_generated + most;
  const size_t cut = end > kLongest.back() ? kNumBuckets : bucket_of(end);
  // As many again as it has, as far as nobody knows.
  const double doubt = newest_ * kDoubt;
  double left = doubt * static_cast<double>(std::min(std::max(num_generated, kFirstTokens), most));
  const double known = share_from_[first] > 0 ? reached_[first] : 0;
  if (known > 0)
    left += known / share_from_[first] *
            (tokens_from_[first] - tokens_from_[cut] -
             static_cast<double>(num_generated) * (share_from_[first] - share_from_[cut]) +
             static_cast<double>(most) * share_from_[cut]);
  // The middle of the bucket that it is in may be behind it.
  return std::clamp(left / (known + doubt), 1.0, static_cast<double>(most));
}

double OutputLengths::index_seconds(const UnfinishedWork& work) const {
  const size_t first = bucket_of(work.num_generated + 1);
  std::array<double, kNumBuckets> share{};
  double going_on = 0;
  for (size_t i = first; i < kNumBuckets; ++i) {
    share[i] = share_[i].load(std::memory_order_relaxed);
    going_on += share[i];
  }
  double index = 0;
  double saved = 0;                               // times going_on, as are the shares
  double service = going_on * work.left_seconds;  // likewise
  auto age = static_cast<double>(work.num_generated);
  const auto most = static_cast<double>(std::max(work.most_generated, work.num_generated + 1));
  for (size_t i = first; i < kNumBuckets && age < most; ++i) {
    // One that is longer than all buckets is expected to go on as long again.
    const double longest = std::max(static_cast<double>(kLongest[i]), i + 1 == kNumBuckets ? 2 * age : 0);
    const double end = std::min(longest, most);
    const double ending = longest < most ? share[i] : going_on;
    service += going_on * work.token_seconds * (end - age);
    age = end;
    going_on -= ending;
    saved += ending / (work.prompt_seconds + work.token_seconds * std::max(end, kLeastTokens));
    index = std::max(index, saved / service);
  }
  return 1 / std::sqrt(index);
}

}  // namespace pagoda
