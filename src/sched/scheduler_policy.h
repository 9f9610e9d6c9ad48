// Which sequence goes first. A policy only orders: admission, page counting, preemption and abort are written
// once, in the engine. Plain numbers in, plain numbers out; time comes in as an argument.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sched/forecast.h"
#include "sched/output_lengths.h"
#include "sched/scheduled_sequence.h"

namespace pagoda {

// Holds the sequences that wait, in order; each call is O(log n) of them. Calls of one sequence:
//   on_arrival ( push ( start | remove ) )* on_progress* on_finish
// where those that run may be pushed again (preempted), and start is followed by running.
class SchedulerPolicy {
 public:
  virtual ~SchedulerPolicy() = default;
  virtual std::string_view name() const = 0;
  // So that this many sequences can wait without allocations.
  virtual void reserve(size_t num_sequences) = 0;

  // ---- those that wait ----
  virtual void push(ScheduledSequence& sequence) = 0;
  virtual ScheduledSequence* first() = 0;                                // null if none waits
  virtual void remove(ScheduledSequence& sequence) = 0;                  // waits no longer
  virtual void start(ScheduledSequence& sequence) { remove(sequence); }  // will run

  // ---- all of them ----
  // Once, before anything else.
  virtual void on_arrival(ScheduledSequence&) {}
  // It ran for this share of a step's predicted time; `now_ns` is the step's end.
  virtual void on_progress(ScheduledSequence&, double /*seconds*/, int64_t /*now_ns*/) {}
  // It does not wait any more, if it did.
  virtual void on_finish(ScheduledSequence&, int64_t /*now_ns*/) {}
  // Before each step looks at the order.
  virtual void advance(int64_t /*now_ns*/) {}

  // The order in which running sequences are served; the last is preempted first. Strict, without ties.
  virtual bool before(const ScheduledSequence& a, const ScheduledSequence& b) const = 0;
  // Whether one that waits may take the place of one that runs, and what becomes of the latter's pages.
  enum class Pages { kept, may_be_lost };
  virtual bool preempts(const ScheduledSequence& /*waiting*/, const ScheduledSequence& /*running*/,
                        Pages /*of_running*/) const {
    return false;
  }
  // In which class of urgency it is, or would be if it came now: of those that wait, a smaller number goes
  // first whenever it came. In [0, kNumClasses). Callable from any thread for a sequence of its own.
  virtual int32_t class_of(const ScheduledSequence&) const { return 0; }
  // So many of the first classes may take the place of one that runs, as far as that depends on the class.
  virtual int32_t num_place_takers(const ScheduledSequence& /*running*/, Pages /*of_running*/) const {
    return 0;
  }
  // When one that waits goes first whatever comes.
  virtual int64_t due_ns(const ScheduledSequence&) const { return INT64_MAX; }
  // Whether the queue's order depends on prefix hits, which change while sequences wait.
  virtual bool orders_by_prefix() const { return false; }

  // What orders and forecasts are made by. The engine adds outputs as they end, before on_finish.
  OutputLengths& output_lengths() { return lengths_; }
  const OutputLengths& output_lengths() const { return lengths_; }

 private:
  OutputLengths lengths_;
};

// "fcfs", …; an unknown name is invalid_argument and lists the known ones.
Result<std::unique_ptr<SchedulerPolicy>> make_scheduler_policy(std::string_view name);
std::vector<std::string_view> scheduler_policy_names();

}  // namespace pagoda
