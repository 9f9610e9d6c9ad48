// A binary heap of sequences that know their places in it: push, remove and update are O(log n), the first is
// O(1).
#pragma once

#include <cstddef>
#include <vector>

#include "base/check.h"
#include "sched/scheduled_sequence.h"

namespace pagoda {

// Before is a strict order without ties. A sequence remembers its place in the member kPlace.
template <class Before, size_t ScheduledSequence::* kPlace>
class SequenceHeap {
 public:
  // So that pushing that many allocates nothing.
  void reserve(size_t num_sequences) { heap_.reserve(num_sequences); }
  bool empty() const { return heap_.empty(); }
  size_t size() const { return heap_.size(); }
  ScheduledSequence* first() const { return heap_.empty() ? nullptr : heap_.front(); }
  static bool contains(const ScheduledSequence& sequence) {
    return sequence.*kPlace != ScheduledSequence::kNoPlace;
  }

  void push(ScheduledSequence& sequence) {
    PAGODA_CHECK(!contains(sequence), "sequence {} twice", sequence.id);
    heap_.push_back(&sequence);
    sift_up(heap_.size() - 1);
  }
  void remove(ScheduledSequence& sequence) {
    const size_t hole = sequence.*kPlace;
    PAGODA_CHECK(hole < heap_.size() && heap_[hole] == &sequence, "sequence {} is not here", sequence.id);
    sequence.*kPlace = ScheduledSequence::kNoPlace;
    ScheduledSequence* last = heap_.back();
    heap_.pop_back();
    if (last == &sequence) return;
    put(hole, last);
    sift_down(sift_up(hole));
  }

 private:
  void put(size_t place, ScheduledSequence* sequence) {
    heap_[place] = sequence;
    sequence->*kPlace = place;
  }
  size_t sift_up(size_t place) {
    ScheduledSequence* sequence = heap_[place];
    while (place > 0 && Before{}(*sequence, *heap_[(place - 1) / 2])) {
      put(place, heap_[(place - 1) / 2]);
      place = (place - 1) / 2;
    }
    put(place, sequence);
    return place;
  }
  void sift_down(size_t place) {
    ScheduledSequence* sequence = heap_[place];
    for (;;) {
      size_t child = 2 * place + 1;
      if (child >= heap_.size()) break;
      if (child + 1 < heap_.size() && Before{}(*heap_[child + 1], *heap_[child])) ++child;
      if (!Before{}(*heap_[child], *sequence)) break;
      put(place, heap_[child]);
      place = child;
    }
    put(place, sequence);
  }

  std::vector<ScheduledSequence*> heap_;
};

}  // namespace pagoda
