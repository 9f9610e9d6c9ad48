#include "server/output/python_literal.h"

#include <charconv>
#include <cstdint>

#include <boost/json.hpp>

namespace pagoda {
namespace json = boost::json;

namespace {

constexpr int kMaxDepth = 64;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_name(char c) {
  return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_';
}

void append_utf8(std::string& out, uint32_t code) {
  const auto tail = [&](int shift) { out += static_cast<char>(0x80 | ((code >> shift) & 0x3f)); };
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xc0 | (code >> 6));
    tail(0);
  } else if (code < 0x10000) {
    out += static_cast<char>(0xe0 | (code >> 12));
    tail(6);
    tail(0);
  } else {
    out += static_cast<char>(0xf0 | (code >> 18));
    tail(12);
    tail(6);
    tail(0);
  }
}

// Recursive descent; each function appends JSON and says whether the text was right.
class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  bool arguments(std::string& out) {
    out += '{';
    skip_space();
    for (bool first = true; !rest_.empty(); first = false) {
      if (!first) out += ", ";
      const std::string_view name = word();
      if (name.empty() || is_digit(name[0]) || !take('=')) return false;
      out += json::serialize(name);
      out += ": ";
      if (!value(out, kMaxDepth)) return false;
      if (!rest_.empty() && !take(',')) return false;
    }
    out += '}';
    return true;
  }

 private:
  void skip_space() { rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t\r\n"), rest_.size())); }
  // The character and the space after it.
  bool take(char c) {
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    skip_space();
    return true;
  }
  std::string_view word() {
    size_t size = 0;
    while (size < rest_.size() && is_name(rest_[size])) ++size;
    const std::string_view found = rest_.substr(0, size);
    rest_.remove_prefix(size);
    skip_space();
    return found;
  }

  bool value(std::string& out, int depth) {
    if (rest_.empty() || depth == 0) return false;
    const char c = rest_[0];
    if (c == '"' || c == '\'') return string(out);
    if (c == '[') return take(c) && list(out, ']', depth - 1);
    if (c == '(') return take(c) && list(out, ')', depth - 1);
    if (c == '{') return take(c) && dict(out, depth - 1);
    if (is_digit(c) || c == '-' || c == '+' || c == '.') return number(out);
    const std::string_view name = word();
    if (name == "True" || name == "true")
      out += "true";
    else if (name == "False" || name == "false")
      out += "false";
    else if (name == "None" || name == "null")
      out += "null";
    else
      return false;
    return true;
  }

  bool list(std::string& out, char close, int depth) {
    out += '[';
    for (bool first = true; !take(close); first = false) {
      if (!first) out += ", ";
      if (!value(out, depth)) return false;
      if (!take(',') && !rest_.starts_with(close)) return false;
    }
    out += ']';
    return true;
  }

  bool dict(std::string& out, int depth) {
    out += '{';
    for (bool first = true; !take('}'); first = false) {
      if (!first) out += ", ";
      if (rest_.empty() || (rest_[0] != '"' && rest_[0] != '\'') || !string(out) || !take(':')) return false;
      out += ": ";
      if (!value(out, depth)) return false;
      if (!take(',') && !rest_.starts_with('}')) return false;
    }
    out += '}';
    return true;
  }

  bool number(std::string& out) {
    size_t size = 0;
    while (size < rest_.size() &&
           (is_name(rest_[size]) || rest_[size] == '.' || rest_[size] == '-' || rest_[size] == '+'))
      ++size;
    const std::string text(rest_.substr(rest_[0] == '+' ? 1 : 0, size - (rest_[0] == '+' ? 1 : 0)));
    boost::system::error_code ec;
    if (!json::parse(text, ec).is_number() || ec) return false;
    out += text;
    rest_.remove_prefix(size);
    skip_space();
    return true;
  }

  bool string(std::string& out) {
    const char quote = rest_[0];
    rest_.remove_prefix(1);
    std::string text;
    while (!rest_.empty() && rest_[0] != quote) {
      const char c = rest_[0];
      rest_.remove_prefix(1);
      if (c != '\\')
        text += c;
      else if (!escape(text))
        return false;
    }
    if (rest_.empty()) return false;
    take(quote);
    out += json::serialize(text);
    return true;
  }

  bool escape(std::string& text) {
    if (rest_.empty()) return false;
    const char c = rest_[0];
    rest_.remove_prefix(1);
    constexpr std::string_view kNames = "nrtbfav0\\'\"/";
    constexpr std::string_view kValues = std::string_view("\n\r\t\b\f\a\v\0\\'\"/", kNames.size());
    if (const size_t index = kNames.find(c); index != std::string_view::npos)
      text += kValues[index];
    else if (c == 'x' || c == 'u' || c == 'U')
      return code_point(text, c == 'x' ? 2 : c == 'u' ? 4 : 8);
    else
      (text += '\\') += c;  // as Python has it
    return true;
  }

  bool code_point(std::string& text, size_t digits) {
    uint32_t code = 0;
    if (rest_.size() < digits) return false;
    const std::string_view number = rest_.substr(0, digits);
    const auto [end, ec] = std::from_chars(number.begin(), number.end(), code, 16);
    if (ec != std::errc() || end != number.end()) return false;
    if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return false;
    rest_.remove_prefix(digits);
    append_utf8(text, code);
    return true;
  }

  std::string_view rest_;
};

}  // namespace

std::optional<std::string> python_arguments_to_json(std::string_view text) {
  std::string out;
  return Reader(text).arguments(out) ? std::optional(std::move(out)) : std::nullopt;
}

}  // namespace pagoda
