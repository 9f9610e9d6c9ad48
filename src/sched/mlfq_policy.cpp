#include "sched/mlfq_policy.h"

#include <algorithm>
#include <cmath>
#include <tuple>

namespace pagoda {

namespace {

constexpr double kFirstQuantum = 0.004;  // seconds
constexpr double kLeastSeconds = 0.001;
// Of an output whose length nobody knows: so that a short one does not age while it is young.
constexpr int64_t kLeastTokens = 16;

// By itself, with an output of that length.
double seconds_with(const ScheduledSequence& sequence, double num_tokens) {
  return sequence.alone_seconds + sequence.token_seconds * num_tokens;
}

// What it would take by itself, as far as it is known.
double alone_seconds(const ScheduledSequence& sequence) {
  const auto num_tokens = static_cast<double>(std::max(sequence.num_generated, kLeastTokens));
  return std::max(seconds_with(sequence, num_tokens), kLeastSeconds);
}

}  // namespace

bool MlfqPolicy::HigherLevel::operator()(const ScheduledSequence& a, const ScheduledSequence& b) const {
  return std::tie(a.level, a.tag, a.id) < std::tie(b.level, b.tag, b.id);
}

bool MlfqPolicy::EarlierDeadline::operator()(const ScheduledSequence& a, const ScheduledSequence& b) const {
  return std::tie(a.deadline_ns, a.id) < std::tie(b.deadline_ns, b.id);
}

double MlfqPolicy::quantum_seconds(int32_t level) {
  return kFirstQuantum * std::exp2(0.5 * level);
}

void MlfqPolicy::reserve(size_t num_sequences) {
  queue_.reserve(num_sequences);
  deadlines_.reserve(num_sequences);
}

int32_t MlfqPolicy::level_of(const ScheduledSequence& sequence) const {
  const double seconds = output_lengths().index_seconds(
      {.prompt_seconds = std::max(sequence.alone_seconds, sequence.prefill_seconds),
       .left_seconds = sequence.prefill_seconds,
       .token_seconds = sequence.token_seconds * token_share_.load(std::memory_order_relaxed),
       .num_generated = sequence.num_generated,
       .most_generated = sequence.max_generated});
  int32_t level = 0;
  while (level + 1 < kNumLevels && quantum_seconds(level) < seconds) ++level;
  return level;
}

void MlfqPolicy::join(ScheduledSequence& sequence, int32_t level) {
  const auto index = static_cast<size_t>(level);
  double& next_tag = clients_[sequence.client].next_tag[index];
  sequence.level = level;
  sequence.tag = std::max(time_[index], next_tag);
  next_tag = sequence.tag + quantum_seconds(level);
}

void MlfqPolicy::find_level(ScheduledSequence& sequence) {
  sequence.level_until = OutputLengths::next_age(sequence.num_generated);
  const int32_t level = level_of(sequence);
  if (level != sequence.level) join(sequence, level);
}

int32_t MlfqPolicy::class_of(const ScheduledSequence& sequence) const {
  if (sequence.level == ScheduledSequence::kNoLevel) return level_of(sequence);
  return std::max(sequence.level, 0);
}

int64_t MlfqPolicy::deadline_of(const ScheduledSequence& sequence) const {
  constexpr double kForever = 1e9;  // seconds; in nanoseconds it still fits
  const double backlogs = kBacklogs * (longest_.has(sequence.expected_seconds) ? kLongestAllowance : 1);
  const double wait = std::max(kPatience * alone_seconds(sequence), backlogs * sequence.backlog_seconds);
  return sequence.arrival_ns + std::llround(1e9 * std::min(wait, kForever));
}

void MlfqPolicy::on_arrival(ScheduledSequence& sequence) {
  ++clients_[sequence.client].num_sequences;
  find_level(sequence);
  sequence.expected_seconds =
      seconds_with(sequence, output_lengths().expected_left(0, sequence.max_generated));
  longest_.add(sequence.expected_seconds);
  sequence.deadline_ns = deadline_of(sequence);
  deadlines_.push(sequence);
}

void MlfqPolicy::start(ScheduledSequence& sequence) {
  queue_.remove(sequence);
  if (sequence.level == kAged) return;
  double& time = time_[static_cast<size_t>(sequence.level)];
  time = std::max(time, sequence.tag);
}

void MlfqPolicy::on_progress(ScheduledSequence& sequence, double seconds, int64_t /*now_ns*/) {
  // The first token comes with the end of the prompt.
  const bool generates = sequence.num_generated > 1;
  if (generates && sequence.token_seconds > 0) {
    constexpr double kNewest = 1.0 / 256;
    const double share = token_share_.load(std::memory_order_relaxed);
    const double newest = std::min(seconds / sequence.token_seconds, 1.0);
    token_share_.store(share + kNewest * (newest - share), std::memory_order_relaxed);
  }
  if (sequence.level == kAged || (generates && sequence.num_generated < sequence.level_until)) return;
  find_level(sequence);
}

void MlfqPolicy::on_finish(ScheduledSequence& sequence, int64_t /*now_ns*/) {
  if (deadlines_.contains(sequence)) deadlines_.remove(sequence);
  const auto client = clients_.find(sequence.client);
  // One that has nothing here any more starts anew: its next turn is not before those of others.
  if (--client->second.num_sequences == 0) clients_.erase(client);
}

void MlfqPolicy::advance(int64_t now_ns) {
  while (ScheduledSequence* sequence = deadlines_.first()) {
    if (sequence->deadline_ns > now_ns) return;
    deadlines_.remove(*sequence);
    // What it would take by itself may have grown since, and what counts as long may have changed.
    sequence->deadline_ns = deadline_of(*sequence);
    if (sequence->deadline_ns > now_ns) {
      deadlines_.push(*sequence);
      continue;
    }
    const bool waits = queue_.contains(*sequence);
    if (waits) queue_.remove(*sequence);
    sequence->level = kAged;
    sequence->tag = 0;
    if (waits) queue_.push(*sequence);
  }
}

}  // namespace pagoda
