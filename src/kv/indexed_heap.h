// A binary min-heap over small integers whose priorities may change: push, update, remove and pop are O(log
// n), and nothing is allocated after construction.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "base/check.h"

namespace pagoda {

class IndexedHeap {
 public:
  // For ids 0 … num_ids - 1.
  explicit IndexedHeap(size_t num_ids) : places_(num_ids, kAbsent) { entries_.reserve(num_ids); }

  bool empty() const { return entries_.empty(); }
  size_t size() const { return entries_.size(); }
  bool contains(int32_t id) const { return places_[static_cast<size_t>(id)] != kAbsent; }
  // The id with the least priority, the smallest id among equals.
  int32_t top() const { return entries_.front().id; }
  double top_priority() const { return entries_.front().priority; }

  // Adds the id or changes its priority.
  void set(int32_t id, double priority) {
    if (!contains(id)) {
      places_[static_cast<size_t>(id)] = static_cast<int32_t>(entries_.size());
      entries_.push_back({priority, id});
    } else {
      entries_[place(id)].priority = priority;
    }
    sift_down(sift_up(place(id)));
  }

  // Does nothing if the id is absent.
  void remove(int32_t id) {
    if (!contains(id)) return;
    const size_t hole = place(id);
    places_[static_cast<size_t>(id)] = kAbsent;
    const Entry last = entries_.back();
    entries_.pop_back();
    if (last.id == id) return;
    put(hole, last);
    sift_down(sift_up(hole));
  }

 private:
  struct Entry {
    double priority;
    int32_t id;
    bool operator<(const Entry& other) const {
      return priority != other.priority ? priority < other.priority : id < other.id;
    }
  };
  static constexpr int32_t kAbsent = -1;

  size_t place(int32_t id) const { return static_cast<size_t>(places_[static_cast<size_t>(id)]); }
  void put(size_t place, Entry entry) {
    entries_[place] = entry;
    places_[static_cast<size_t>(entry.id)] = static_cast<int32_t>(place);
  }
  size_t sift_up(size_t place) {
    const Entry entry = entries_[place];
    while (place > 0 && entry < entries_[(place - 1) / 2]) {
      put(place, entries_[(place - 1) / 2]);
      place = (place - 1) / 2;
    }
    put(place, entry);
    return place;
  }
  void sift_down(size_t place) {
    const Entry entry = entries_[place];
    for (;;) {
      size_t child = 2 * place + 1;
      if (child >= entries_.size()) break;
      if (child + 1 < entries_.size() && entries_[child + 1] < entries_[child]) ++child;
      if (!(entries_[child] < entry)) break;
      put(place, entries_[child]);
      place = child;
    }
    put(place, entry);
  }

  std::vector<Entry> entries_;
  std::vector<int32_t> places_;
};

}  // namespace pagoda
