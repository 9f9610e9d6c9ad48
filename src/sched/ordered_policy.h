// What policies share whose order is a comparison of two sequences.
#pragma once

#include "sched/scheduler_policy.h"
#include "sched/sequence_heap.h"

namespace pagoda {

template <class Before>
class OrderedPolicy : public SchedulerPolicy {
 public:
  void reserve(size_t num_sequences) override { queue_.reserve(num_sequences); }
  void push(ScheduledSequence& sequence) override { queue_.push(sequence); }
  ScheduledSequence* first() override { return queue_.first(); }
  void remove(ScheduledSequence& sequence) override { queue_.remove(sequence); }
  bool before(const ScheduledSequence& a, const ScheduledSequence& b) const override {
    return Before{}(a, b);
  }

 private:
  SequenceHeap<Before, &ScheduledSequence::queue_place> queue_;
};

}  // namespace pagoda
