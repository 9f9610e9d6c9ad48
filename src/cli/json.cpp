#include "cli/json.h"

#include <cmath>
#include <cstdlib>
#include <fstream>

#include <boost/json.hpp>

namespace pagoda {

namespace {

namespace json = boost::json;

constexpr std::string_view kBlanks = " \t\r\n";

void append_json(std::string& out, const json::value& value) {
  if (const json::object* object = value.if_object()) {
    std::string_view separator = "{";
    for (const auto& [key, member] : *object) {
      out += separator;
      out += json::serialize(key);
      out += ": ";
      append_json(out, member);
      separator = ", ";
    }
    out += object->empty() ? "{}" : "}";
  } else if (const json::array* array = value.if_array()) {
    std::string_view separator = "[";
    for (const json::value& element : *array) {
      out += separator;
      append_json(out, element);
      separator = ", ";
    }
    out += array->empty() ? "[]" : "]";
  } else if (const double* number = value.if_double()) {
    out += std::isfinite(*number) ? fmt::format("{}", *number) : "null";
  } else {
    out += json::serialize(value);
  }
}

Result<json::value> parse_json(std::string_view text) {
  json::parse_options options;
  options.max_depth = 256;
  json::error_code error;
  json::value value = json::parse(text, error, json::storage_ptr(), options);
  if (error) return fail(ErrorCode::invalid_argument, "no valid JSON ({})", error.message());
  return value;
}

// Walks over valid JSON.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  void skip_blanks() { at_ = std::min(text_.find_first_not_of(kBlanks, at_), text_.size()); }
  bool take(char c) {
    skip_blanks();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  std::string_view take_value() {
    skip_blanks();
    const size_t begin = at_;
    int depth = 0;
    do {
      const char c = text_[at_];
      if (c == '"') {
        skip_string();
        continue;
      }
      if (depth == 0 && (c == ',' || c == '}')) break;
      if (c == '{' || c == '[') ++depth;
      if (c == '}' || c == ']') --depth;
      ++at_;
    } while (at_ < text_.size());
    const std::string_view value = text_.substr(begin, at_ - begin);
    return value.substr(0, value.find_last_not_of(kBlanks) + 1);
  }
  std::string_view take_string() {
    skip_blanks();
    const size_t begin = at_;
    skip_string();
    return text_.substr(begin, at_ - begin);
  }

 private:
  void skip_string() {
    for (++at_; text_[at_] != '"'; ++at_)
      if (text_[at_] == '\\') ++at_;
    ++at_;
  }
  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

std::string to_json(const json::value& value) {
  std::string out;
  append_json(out, value);
  return out;
}

double float_number(float value) {
  return std::strtod(fmt::format("{}", value).c_str(), nullptr);
}

Result<json::object> json_object_of(std::string_view text) {
  PAGODA_TRY(json::value parsed, parse_json(text));
  if (!parsed.is_object()) return fail(ErrorCode::invalid_argument, "not a JSON object");
  return std::move(parsed.get_object());
}

Result<JsonMembers> split_json_object(std::string_view text) {
  PAGODA_TRY_STATUS(json_object_of(text));
  JsonMembers members;
  Scanner scanner(text);
  scanner.take('{');
  while (!scanner.take('}')) {
    PAGODA_TRY(std::string key, parse_json_string(scanner.take_string()));
    scanner.take(':');
    members.emplace_back(std::move(key), scanner.take_value());
    scanner.take(',');
  }
  return members;
}

Result<std::string> parse_json_string(std::string_view literal) {
  PAGODA_TRY(const json::value parsed, parse_json(literal));
  if (!parsed.is_string()) return fail(ErrorCode::invalid_argument, "not a string");
  return std::string(parsed.get_string());
}

Status for_each_line(const std::string& path, const std::function<Status(std::string_view line)>& handle) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(ErrorCode::not_found, "{}: cannot be read; check the path", path);
  int64_t number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    if (line.find_first_not_of(kBlanks) == std::string::npos) continue;
    if (Status status = handle(line); !status)
      return fail(status.error().code, "{}, line {}: {}", path, number, status.error().message);
  }
  // A folder, say: it can be opened.
  if (file.bad()) return fail(ErrorCode::not_found, "{}: cannot be read; check the path", path);
  return {};
}

}  // namespace pagoda
