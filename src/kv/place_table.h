// Values under ids that are never used again, in a fixed number of places: whoever holds an id of something
// that has gone finds nothing, whatever lies in its place now. Places are small numbers, as IndexedHeap
// takes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/check.h"

namespace pagoda {

template <class T>
class PlaceTable {
 public:
  static constexpr int64_t kNoId = -1;
  struct Entry {
    int64_t id = kNoId;  // kNoId: the place is free
    T value{};
  };

  explicit PlaceTable(size_t num_places) : entries_(num_places) {
    free_.reserve(num_places);
    for (size_t i = num_places; i-- > 0;) free_.push_back(static_cast<int32_t>(i));
  }

  size_t num_places() const { return entries_.size(); }
  size_t num_used() const { return entries_.size() - free_.size(); }
  bool is_full() const { return free_.empty(); }

  // There must be a free place. Ids ascend.
  int64_t add(T value) {
    PAGODA_CHECK(!free_.empty(), "all of {} places are taken", entries_.size());
    const int32_t place = free_.back();
    free_.pop_back();
    const int64_t id = num_added_++ * std::ssize(entries_) + place;
    entries_[static_cast<size_t>(place)] = {id, std::move(value)};
    return id;
  }
  // Null once it has gone, and for kNoId.
  const T* find(int64_t id) const {
    return id != kNoId && entries_[index_of(id)].id == id ? &entries_[index_of(id)].value : nullptr;
  }
  T* find(int64_t id) { return const_cast<T*>(std::as_const(*this).find(id)); }
  // Must be there.
  int32_t place(int64_t id) const {
    PAGODA_CHECK(find(id) != nullptr, "id {}", id);
    return static_cast<int32_t>(index_of(id));
  }
  T& at(int32_t place) { return entries_[static_cast<size_t>(place)].value; }
  // Frees a place that is not free.
  T take(int32_t place) {
    free_.push_back(place);
    return std::exchange(entries_[static_cast<size_t>(place)], {}).value;
  }

  std::span<const Entry> entries() const { return entries_; }  // by place

 private:
  size_t index_of(int64_t id) const { return static_cast<size_t>(id) % entries_.size(); }

  std::vector<Entry> entries_;
  std::vector<int32_t> free_;
  int64_t num_added_ = 0;
};

}  // namespace pagoda
