#include "io/json_walk.h"

#include <vector>

#include <boost/json/basic_parser_impl.hpp>

namespace pagoda {

namespace {

namespace json = boost::json;

// Boost's events, with the path kept and strings put together. The names of the members are Boost's.
class Handler {
 public:
  static constexpr size_t max_array_size = static_cast<size_t>(-1);
  static constexpr size_t max_object_size = static_cast<size_t>(-1);
  static constexpr size_t max_string_size = static_cast<size_t>(-1);
  static constexpr size_t max_key_size = static_cast<size_t>(-1);

  explicit Handler(JsonVisitor& visitor) : visitor_(visitor) {}
  Status& status() { return status_; }

  bool on_document_begin(json::error_code&) { return true; }
  bool on_document_end(json::error_code&) { return true; }
  bool on_object_begin(json::error_code& error) { return begin(JsonContainer::object, error); }
  bool on_object_end(size_t, json::error_code& error) { return end(error); }
  bool on_array_begin(json::error_code& error) { return begin(JsonContainer::array, error); }
  bool on_array_end(size_t, json::error_code& error) { return end(error); }

  bool on_key_part(json::string_view part, size_t, json::error_code&) {
    text_.append(part);
    return true;
  }
  bool on_key(json::string_view part, size_t, json::error_code&) {
    text_.append(part);
    path_.back().swap(text_);
    text_.clear();
    return true;
  }
  bool on_string_part(json::string_view part, size_t, json::error_code&) {
    text_.append(part);
    return true;
  }
  bool on_string(json::string_view part, size_t, json::error_code& error) {
    text_.append(part);
    const bool go_on = scalar(std::string_view(text_), error);
    text_.clear();
    return go_on;
  }

  bool on_number_part(json::string_view, json::error_code&) { return true; }
  bool on_int64(int64_t value, json::string_view, json::error_code& error) { return scalar(value, error); }
  bool on_uint64(uint64_t, json::string_view, json::error_code& error) { return scalar({}, error); }
  bool on_double(double, json::string_view, json::error_code& error) { return scalar({}, error); }
  bool on_bool(bool, json::error_code& error) { return scalar({}, error); }
  bool on_null(json::error_code& error) { return scalar({}, error); }
  bool on_comment_part(json::string_view, json::error_code&) { return true; }
  bool on_comment(json::string_view, json::error_code&) { return true; }

 private:
  bool begin(JsonContainer kind, json::error_code& error) {
    const bool go_on = keep(visitor_.on_begin(kind, path_), error);
    path_.emplace_back();
    return go_on;
  }
  bool end(json::error_code& error) {
    path_.pop_back();
    return keep(visitor_.on_end(path_), error);
  }
  bool scalar(const JsonScalar& value, json::error_code& error) {
    return keep(visitor_.on_scalar(value, path_), error);
  }
  bool keep(Status status, json::error_code& error) {
    if (status) return true;
    status_ = std::move(status);
    error = json::error::exception;  // any: the status is what counts
    return false;
  }

  JsonVisitor& visitor_;
  Status status_;
  std::vector<std::string> path_;  // of the value that comes next
  std::string text_;               // of the string or key that is being read
};

}  // namespace

Status walk_json(std::string_view text, std::string_view what, JsonVisitor& visitor) {
  json::basic_parser<Handler> parser(json::parse_options(), visitor);
  json::error_code error;
  const size_t num_read = parser.write_some(false, text.data(), text.size(), error);
  PAGODA_TRY_STATUS(parser.handler().status());
  if (error) return fail(ErrorCode::corrupt, "{} is not JSON ({})", what, error.message());
  if (num_read < text.size()) return fail(ErrorCode::corrupt, "{} goes on after the end of its JSON", what);
  return {};
}

}  // namespace pagoda
