// Finds stop strings in a stream of text, however it is cut into pieces.
//
//   pending:  … text that may yet become a stop string
//             |-- let through --|-- longest suffix that begins a stop string: held back --|
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace pagoda {

// One per sequence; `stops` (none of them empty) must outlive it.
class StopMatcher {
 public:
  enum class Match { hide, show };  // whether the stop string itself is let through

  StopMatcher(std::span<const std::string> stops, Match match) : stops_(stops), match_(match) {}

  // Appends to `out` what can no longer be part of a stop string. Returns the index of the stop string whose
  // last character comes first in the stream (the longest of several that end there); nothing follows it. The
  // outcome does not depend on how the stream is cut.
  std::optional<size_t> push(std::string_view text, std::string& out);
  // At the end of the stream: lets through what is held back.
  void finish(std::string& out);

 private:
  size_t held_back() const;

  std::span<const std::string> stops_;
  Match match_;
  std::string pending_;
};

}  // namespace pagoda
