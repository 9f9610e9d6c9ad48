#include "engine/stop_matcher.h"

#include <algorithm>

namespace pagoda {

std::optional<size_t> StopMatcher::push(std::string_view text, std::string& out) {
  if (stops_.empty()) {
    out += text;
    return std::nullopt;
  }
  pending_ += text;
  std::optional<size_t> found;
  size_t found_begin = 0;
  size_t found_end = 0;
  for (size_t i = 0; i < stops_.size(); ++i) {
    const size_t begin = pending_.find(stops_[i]);
    if (begin == std::string::npos) continue;
    const size_t end = begin + stops_[i].size();
    if (found && (end > found_end || (end == found_end && begin >= found_begin))) continue;
    found = i;
    found_begin = begin;
    found_end = end;
  }
  const size_t let_through =
      !found ? pending_.size() - held_back() : (match_ == Match::show ? found_end : found_begin);
  out.append(pending_, 0, let_through);
  if (found) {
    pending_.clear();
  } else {
    pending_.erase(0, let_through);
  }
  return found;
}

void StopMatcher::finish(std::string& out) {
  out += pending_;
  pending_.clear();
}

size_t StopMatcher::held_back() const {
  size_t longest = 0;
  const std::string_view pending = pending_;
  for (const std::string& stop : stops_) {
    for (size_t length = std::min(stop.size() - 1, pending.size()); length > longest; --length) {
      if (!pending.ends_with(std::string_view(stop).substr(0, length))) continue;
      longest = length;
      break;
    }
  }
  return longest;
}

}  // namespace pagoda
