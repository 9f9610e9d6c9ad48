#include "cli/trace/event_stream.h"

#include <boost/json.hpp>

namespace pagoda {

namespace {

namespace json = boost::json;

// The number at a path of members, or -1.
int64_t count_at(const json::value& event, std::string_view pointer) {
  json::error_code error;
  const json::value* value = event.find_pointer(pointer, error);
  return value && value->is_int64() ? value->get_int64() : -1;
}

}  // namespace

bool EventStream::push(std::string_view bytes) {
  bool has_text = false;
  line_ += bytes;
  size_t begin = 0;
  for (size_t end; (end = line_.find('\n', begin)) != std::string::npos; begin = end + 1) {
    std::string_view line = std::string_view(line_).substr(begin, end - begin);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.starts_with("data:")) continue;
    line.remove_prefix(5);
    if (line.starts_with(' ')) line.remove_prefix(1);
    if (line != "[DONE]" && read_event(line)) has_text = true;
  }
  line_.erase(0, begin);
  return has_text;
}

bool EventStream::read_event(std::string_view data) {
  json::error_code parse_error;
  const json::value event = json::parse(data, parse_error);
  if (parse_error || !event.is_object()) {
    error_ = "an event that is no JSON object";
    return false;
  }
  if (event.get_object().contains("error")) error_ = "an error in the stream";
  if (const int64_t count = count_at(event, "/usage/completion_tokens"); count >= 0)
    num_output_tokens_ = count;
  // OpenAI's place, and llama-server's.
  for (const char* pointer : {"/timings/cache_n", "/usage/prompt_tokens_details/cached_tokens"})
    if (const int64_t count = count_at(event, pointer); count >= 0) num_cached_tokens_ = count;
  json::error_code error;
  const json::value* waiting = event.find_pointer("/timings/waiting_ms", error);
  if (waiting && waiting->is_number()) waiting_ms_ = waiting->to_number<double>();
  const json::value* text = event.find_pointer("/choices/0/text", error);
  return text && text->is_string() && !text->get_string().empty();
}

}  // namespace pagoda
