// Which sequence goes first. A policy only ranks: admission, page counting, preemption and abort are written
// once, in the engine. Plain numbers in, plain numbers out; time comes in as an argument.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace pagoda {

using SequenceId = uint64_t;  // ascending in order of arrival

// A sequence as a policy sees it.
struct ScheduledSequence {
  SequenceId id = 0;
  int64_t arrival_ns = 0;
  int32_t priority = 0;  // the client's; lower goes first, as in vLLM
  int64_t num_prompt_tokens = 0;
  int64_t num_computed_tokens = 0;  // in the cache
  int64_t num_generated_tokens = 0;
};

// Sequences are served in ascending order of rank, ties by id. The last of the running ones is preempted
// first.
class SchedulerPolicy {
 public:
  virtual ~SchedulerPolicy() = default;
  virtual std::string_view name() const = 0;
  virtual void on_arrival(const ScheduledSequence& sequence, int64_t now_ns) = 0;
  virtual double rank(const ScheduledSequence& sequence, int64_t now_ns) const = 0;
  // After a step: the sequence had num_tokens computed in a step that took step_ns.
  virtual void on_progress(const ScheduledSequence& sequence, int64_t num_tokens, int64_t step_ns) = 0;
  virtual void on_finish(SequenceId id) = 0;
};

// "fcfs"; an unknown name is invalid_argument and lists the known ones.
Result<std::unique_ptr<SchedulerPolicy>> make_scheduler_policy(std::string_view name);
std::vector<std::string_view> scheduler_policy_names();

}  // namespace pagoda
