// What a person at a terminal sees: colours and progress. Neither appears in a pipe or a file.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace pagoda {

enum class Stream { out, err };

// Whether the stream is a terminal that takes colours (NO_COLOR is not set, TERM is not "dumb").
bool takes_colours(Stream stream);

// The text in bold, dim or red where the stream takes colours, else as it is.
std::string bold(std::string_view text, Stream stream);
std::string dim(std::string_view text, Stream stream);
std::string red(std::string_view text, Stream stream);

// A progress bar on standard error; silent where that is no terminal, and for work that ends within half a
// second.
class Progress {
 public:
  explicit Progress(std::string label);
  ~Progress();  // wipes the line
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  // fraction: 0 … 1. Cheap: draws at most ten times a second.
  void update(double fraction);
  // For LoadOptions::progress, with a Progress as context.
  static void callback(void* context, double fraction);

 private:
  std::string label_;
  bool enabled_;
  bool drawn_ = false;
  double next_draw_seconds_;
};

// Writes to standard output at once (streamed text).
void print_now(std::string_view text);
// A line on standard output.
void print_line(std::string_view text);
// At the end of the program: an io error if not all of its output was taken, as by a full disk.
Status flush_output();

}  // namespace pagoda
