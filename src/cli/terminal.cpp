#include "cli/terminal.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

namespace pagoda {

namespace {

constexpr int kBarWidth = 30;
constexpr double kFirstDrawSeconds = 0.5;
constexpr double kDrawIntervalSeconds = 0.1;

bool is_terminal(Stream stream) {
  return isatty(stream == Stream::out ? STDOUT_FILENO : STDERR_FILENO) != 0;
}

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string in_style(std::string_view code, std::string_view text, Stream stream) {
  if (!takes_colours(stream)) return std::string(text);
  return fmt::format("\x1b[{}m{}\x1b[0m", code, text);
}

}  // namespace

bool takes_colours(Stream stream) {
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  if (no_color != nullptr && *no_color != '\0') return false;
  if (term == nullptr || std::string_view(term) == "dumb") return false;
  return is_terminal(stream);
}

std::string bold(std::string_view text, Stream stream) {
  return in_style("1", text, stream);
}
std::string dim(std::string_view text, Stream stream) {
  return in_style("2", text, stream);
}
std::string red(std::string_view text, Stream stream) {
  return in_style("31", text, stream);
}

Progress::Progress(std::string label)
    : label_(std::move(label)),
      enabled_(is_terminal(Stream::err)),
      next_draw_seconds_(now_seconds() + kFirstDrawSeconds) {}

Progress::~Progress() {
  if (drawn_) std::fputs("\r\x1b[K", stderr);
}

void Progress::update(double fraction) {
  if (!enabled_) return;
  const double now = now_seconds();
  if (now < next_draw_seconds_) return;
  next_draw_seconds_ = now + kDrawIntervalSeconds;
  drawn_ = true;
  const double shown = std::clamp(fraction, 0.0, 1.0);
  const auto filled = static_cast<size_t>(shown * kBarWidth);
  std::string bar(filled, '#');
  bar.resize(kBarWidth, '.');
  fmt::print(stderr, "\r{} [{}] {:3.0f} %\x1b[K", label_, bar, shown * 100);
  std::fflush(stderr);
}

void Progress::callback(void* context, double fraction) {
  static_cast<Progress*>(context)->update(fraction);
}

void print_now(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

void print_line(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fputc('\n', stdout);
}

Status flush_output() {
  const bool is_flushed = std::fflush(stdout) == 0;
  if (is_flushed && std::ferror(stdout) == 0) return {};
  return fail(ErrorCode::io, "not all output could be written to standard output; is the disk full?");
}

}  // namespace pagoda
