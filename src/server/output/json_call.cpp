#include "server/output/json_call.h"

#include <utility>

#include <fmt/format.h>
#include <boost/json.hpp>

namespace pagoda {
namespace json = boost::json;

namespace {

constexpr size_t kMaxNameBytes = 512;

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

// Inside strings, JSON wants control characters escaped; models forget it.
void append_byte(std::string& out, char c, bool in_string) {
  if (in_string && static_cast<unsigned char>(c) < 0x20)
    out += c == '\n' ? "\\n" : c == '\t' ? "\\t" : c == '\r' ? "\\r" : fmt::format("\\u{:04x}", c);
  else
    out += c;
}

}  // namespace

JsonCall::JsonCall(ToolCallParserOptions options, std::string name)
    : options_(options), only_arguments_(true), name_(std::move(name)), has_arguments_(true) {}

JsonScanner::Status JsonCall::push(char c) {
  const bool was_in_string = scanner_.in_string();
  if (scanner_.depth() == 0 && c != '{') return Status::bad;
  const Status status = scanner_.push(c);
  if (status == Status::bad) return status;
  if (only_arguments_)
    append_byte(arguments_, c, was_in_string);
  else if (push_member(c, was_in_string) == Status::bad)
    return Status::bad;
  if (status != Status::done) return status;
  if (name_.empty()) return Status::bad;
  if (!has_arguments_) arguments_ = "{}";
  done_ = true;
  return status;
}

// The scanner has seen to the grammar; what is left is to know where names and values begin and end.
JsonScanner::Status JsonCall::push_member(char c, bool was_in_string) {
  if (shape_ != Shape::none) return push_value(c, was_in_string);
  if (was_in_string) {
    if (scanner_.in_string() && key_.size() < kMaxNameBytes) key_ += c;
    return Status::more;
  }
  if (scanner_.in_string() && scanner_.string_is_key()) {
    key_.clear();
    return Status::more;
  }
  const bool opens_call = c == '{' && scanner_.depth() == 1;
  const bool begins = !is_space(c) && c != ':' && c != ',' && c != '}' && !opens_call;
  return begins ? begin_value(c) : Status::more;
}

JsonScanner::Status JsonCall::begin_value(char c) {
  shape_ = c == '{' || c == '[' ? Shape::container : c == '"' ? Shape::string : Shape::bare;
  role_ = key_ == "name"                                ? Role::name
          : key_ == "arguments" || key_ == "parameters" ? Role::arguments
                                                        : Role::other;
  value_.clear();
  if (role_ == Role::other && key_ != "type" && key_ != "id") looks_like_call_ = false;
  if (role_ == Role::name && (c != '"' || !name_.empty())) return Status::bad;
  if (role_ == Role::arguments && (c == '[' || std::exchange(has_arguments_, true))) return Status::bad;
  return push_value(c, false);
}

JsonScanner::Status JsonCall::push_value(char c, bool was_in_string) {
  if (shape_ == Shape::bare && (is_space(c) || c == ',' || c == '}')) return end_value();
  if (role_ == Role::arguments)
    append_byte(shape_ == Shape::container ? arguments_ : value_, c, was_in_string);
  else if (role_ == Role::name)
    value_ += c;
  if (role_ == Role::name && value_.size() > kMaxNameBytes) return Status::bad;
  const bool ends = shape_ == Shape::container ? scanner_.depth() == 1 && (c == '}' || c == ']')
                    : shape_ == Shape::string  ? was_in_string && !scanner_.in_string()
                                               : false;
  return ends ? end_value() : Status::more;
}

JsonScanner::Status JsonCall::end_value() {
  const Shape shape = std::exchange(shape_, Shape::none);
  if (role_ == Role::other || (role_ == Role::arguments && shape == Shape::container)) return Status::more;
  if (role_ == Role::arguments) return read_arguments_text();
  boost::system::error_code ec;
  const json::value name = json::parse(value_, ec);
  if (ec || !name.is_string() || name.get_string().empty()) return Status::bad;
  name_ = name.get_string();
  return Status::more;
}

// Arguments as a string that holds JSON, or null.
JsonScanner::Status JsonCall::read_arguments_text() {
  boost::system::error_code ec;
  const json::value value = json::parse(value_, ec);
  if (ec || !(value.is_string() || value.is_null())) return Status::bad;
  arguments_ = value.is_null() ? "{}" : std::string(value.get_string());
  return json::parse(arguments_, ec).is_object() && !ec ? Status::more : Status::bad;
}

void JsonCall::flush(OutputDeltas& out) {
  const bool at_once = options_.tell == ToolCallParserOptions::Tell::at_once;
  if (name_.empty() || !(done_ || (at_once && !arguments_.empty()))) return;
  if (!std::exchange(told_, true)) append(out, OutputDelta::Kind::call, name_);
  append(out, OutputDelta::Kind::arguments, arguments_);
  arguments_.clear();
}

}  // namespace pagoda
