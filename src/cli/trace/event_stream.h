// Server-sent events of a completion, as bytes come in.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace pagoda {

// What a completion's events have said so far.
class EventStream {
 public:
  // Bytes as they come, cut anywhere. Returns whether new text was among them.
  bool push(std::string_view bytes);

  int64_t num_output_tokens() const { return num_output_tokens_; }  // by `usage`; 0 until it has come
  int64_t num_cached_tokens() const { return num_cached_tokens_; }
  // Of the request's time, that no step computed anything of it; -1 if the server does not say.
  double waiting_ms() const { return waiting_ms_; }
  // Of an event that is an error instead of a part of the answer; empty if none came.
  const std::string& error() const { return error_; }

 private:
  bool read_event(std::string_view data);

  std::string line_;  // not complete yet
  int64_t num_output_tokens_ = 0;
  int64_t num_cached_tokens_ = 0;
  double waiting_ms_ = -1;
  std::string error_;
};

}  // namespace pagoda
