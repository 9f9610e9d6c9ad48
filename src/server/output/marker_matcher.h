// Finds one marker in a text that comes byte by byte.
#pragma once

#include <string_view>

#include "base/check.h"

namespace pagoda {

// The marker's first byte must not occur in it again: then a failed match can only start anew with the byte
// that failed it.
class MarkerMatcher {
 public:
  explicit MarkerMatcher(std::string_view marker) : marker_(marker) {
    PAGODA_CHECK(marker.empty() || marker.find(marker[0], 1) == std::string_view::npos, "marker '{}'",
                 marker);
  }

  // Whether `c` goes on with the marker; if not, the match starts anew without it.
  bool push(char c) {
    if (length_ < marker_.size() && marker_[length_] == c) {
      ++length_;
      return true;
    }
    length_ = 0;
    return false;
  }
  bool complete() const { return length_ > 0 && length_ == marker_.size(); }
  // The bytes matched so far.
  std::string_view matched() const { return marker_.substr(0, length_); }
  void reset() { length_ = 0; }

 private:
  std::string_view marker_;
  size_t length_ = 0;
};

}  // namespace pagoda
