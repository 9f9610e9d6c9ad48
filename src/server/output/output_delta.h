// What a model's text turned out to be, piece by piece.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace pagoda {

struct OutputDelta {
  enum class Kind {
    content,    // text for the reader
    reasoning,  // text of a thinking section
    call,       // a tool call begins; `text` is the function's name
    arguments,  // more of the JSON text of that call's arguments
  };
  Kind kind = Kind::content;
  std::string text;

  bool operator==(const OutputDelta&) const = default;
};

using OutputDeltas = std::vector<OutputDelta>;

// Adds a delta; text that goes on where the last delta ended is joined to it, and empty text adds nothing.
inline void append(OutputDeltas& deltas, OutputDelta::Kind kind, std::string_view text) {
  const bool joins = kind != OutputDelta::Kind::call && !deltas.empty() && deltas.back().kind == kind;
  if (joins)
    deltas.back().text += text;
  else if (!text.empty())
    deltas.push_back({kind, std::string(text)});
}

}  // namespace pagoda
