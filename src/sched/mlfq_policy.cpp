#include "sched/mlfq_policy.h"

#include <algorithm>
#include <cmath>
#include <tuple>

namespace pagoda {

namespace {

constexpr double kFirstQuantum = 0.001;  // seconds
// Of an output whose length nobody knows: so that a short one does not age while it is young.
constexpr int64_t kLeastTokens = 16;

// The first level whose quantum holds it.
int32_t level_for(double seconds) {
  int32_t level = 0;
  while (level + 1 < MlfqPolicy::kNumLevels && MlfqPolicy::quantum_seconds(level) < seconds) ++level;
  return level;
}

// Its prompt and its first token must fit.
int32_t first_level(const ScheduledSequence& sequence) {
  return level_for(std::max(sequence.prefill_seconds, sequence.token_seconds));
}

// What it would take by itself, as far as it is known.
double alone_seconds(const ScheduledSequence& sequence) {
  const auto num_tokens = static_cast<double>(std::max(sequence.num_generated, kLeastTokens));
  return std::max(sequence.alone_seconds + sequence.token_seconds * num_tokens, kFirstQuantum);
}

}  // namespace

bool MlfqPolicy::HigherLevel::operator()(const ScheduledSequence& a, const ScheduledSequence& b) const {
  return std::tie(a.level, a.tag, a.id) < std::tie(b.level, b.tag, b.id);
}

bool MlfqPolicy::EarlierDeadline::operator()(const ScheduledSequence& a, const ScheduledSequence& b) const {
  return std::tie(a.deadline_ns, a.id) < std::tie(b.deadline_ns, b.id);
}

double MlfqPolicy::quantum_seconds(int32_t level) {
  return std::ldexp(kFirstQuantum, level);
}

void MlfqPolicy::reserve(size_t num_sequences) {
  queue_.reserve(num_sequences);
  deadlines_.reserve(num_sequences);
}

void MlfqPolicy::join(ScheduledSequence& sequence, int32_t level) {
  const auto index = static_cast<size_t>(level);
  double& next_tag = clients_[sequence.client].next_tag[index];
  sequence.level = level;
  sequence.used_seconds = 0;
  sequence.tag = std::max(time_[index], next_tag);
  next_tag = sequence.tag + quantum_seconds(level);
}

int32_t MlfqPolicy::class_of(const ScheduledSequence& sequence) const {
  if (sequence.level == ScheduledSequence::kNoLevel) return first_level(sequence);
  return std::max(sequence.level, 0);
}

int64_t MlfqPolicy::deadline_of(const ScheduledSequence& sequence) const {
  constexpr double kForever = 1e9;  // seconds; in nanoseconds it still fits
  const double wait = std::max(kPatience * alone_seconds(sequence), kBacklogs * sequence.backlog_seconds);
  return sequence.arrival_ns + std::llround(1e9 * std::min(wait, kForever));
}

void MlfqPolicy::on_arrival(ScheduledSequence& sequence) {
  ++clients_[sequence.client].num_sequences;
  join(sequence, first_level(sequence));
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
  if (sequence.level == kAged) return;
  sequence.used_seconds += seconds;
  if (sequence.used_seconds < quantum_seconds(sequence.level)) return;
  const int32_t below = std::min(sequence.level + 1, kNumLevels - 1);
  join(sequence, std::max(below, level_for(sequence.token_seconds)));
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
    // What it would take by itself may have grown since.
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
