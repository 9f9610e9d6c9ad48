// The last values of something, and how they are spread.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

namespace pagoda {

template <class Value, size_t kMost>
class RecentValues {
 public:
  void add(Value value) { values_[num_added_++ % kMost] = value; }
  uint64_t num_added() const { return num_added_; }  // so far
  size_t size() const { return static_cast<size_t>(std::min<uint64_t>(num_added_, kMost)); }
  // Of the values, each as `projection` has it, the one that num_below of them come before in ascending
  // order; num_below < size().
  template <class Projection = std::identity>
  Value nth(size_t num_below, Projection projection = {}) const {
    std::array<Value, kMost> copy = values_;
    const std::span<Value> values = std::span(copy).first(size());
    for (Value& value : values) value = projection(value);
    const auto place = values.begin() + static_cast<std::ptrdiff_t>(num_below);
    std::nth_element(values.begin(), place, values.end());
    return *place;
  }
  // The value that this share of them, less than 1, is below.
  template <class Projection = std::identity>
  Value quantile(double share, Projection projection = {}) const {
    return nth(static_cast<size_t>(share * static_cast<double>(size())), projection);
  }

 private:
  std::array<Value, kMost> values_{};
  uint64_t num_added_ = 0;
};

}  // namespace pagoda
