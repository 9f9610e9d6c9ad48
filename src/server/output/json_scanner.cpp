#include "server/output/json_scanner.h"

namespace pagoda {
namespace {

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_hex(char c) {
  return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

}  // namespace

JsonScanner::Status JsonScanner::push(char c) {
  if (in_string_) return push_in_string(c);
  if (number_ != Number::none) return push_in_number(c);
  if (!literal_.empty()) {
    if (c != literal_[0]) return Status::bad;
    literal_.remove_prefix(1);
    return literal_.empty() ? end_value() : Status::more;
  }
  return is_space(c) ? Status::more : push_structure(c);
}

JsonScanner::Status JsonScanner::push_in_string(char c) {
  if (hex_digits_ > 0) {
    --hex_digits_;
    return is_hex(c) ? Status::more : Status::bad;
  }
  if (escaped_) {
    escaped_ = false;
    if (c == 'u') hex_digits_ = 4;
    return std::string_view("\"\\/bfnrtu").find(c) != std::string_view::npos ? Status::more : Status::bad;
  }
  escaped_ = c == '\\';
  if (c != '"') return Status::more;
  in_string_ = false;
  if (!is_key_) return end_value();
  expect_ = Expect::colon;
  return Status::more;
}

JsonScanner::Status JsonScanner::push_in_number(char c) {
  const bool digit = is_digit(c);
  const bool whole = number_ == Number::zero || number_ == Number::digits;
  const bool ends = whole || number_ == Number::fraction || number_ == Number::power;
  if (digit && number_ != Number::zero) {
    if (number_ == Number::minus)
      number_ = c == '0' ? Number::zero : Number::digits;
    else if (number_ == Number::point)
      number_ = Number::fraction;
    else if (number_ == Number::exponent || number_ == Number::sign)
      number_ = Number::power;
    return Status::more;
  }
  if (c == '.' && whole) {
    number_ = Number::point;
    return Status::more;
  }
  if ((c == 'e' || c == 'E') && (whole || number_ == Number::fraction)) {
    number_ = Number::exponent;
    return Status::more;
  }
  if ((c == '+' || c == '-') && number_ == Number::exponent) {
    number_ = Number::sign;
    return Status::more;
  }
  if (digit || !ends) return Status::bad;
  number_ = Number::none;
  expect_ = Expect::comma_or_end;
  return is_space(c) ? Status::more : push_structure(c);
}

JsonScanner::Status JsonScanner::push_structure(char c) {
  switch (expect_) {
    case Expect::value:
      return begin_value(c);
    case Expect::value_or_end:
      return c == ']' ? close(c) : begin_value(c);
    case Expect::key_or_end:
      if (c == '}') return close(c);
      [[fallthrough]];
    case Expect::key:
      in_string_ = is_key_ = true;
      return c == '"' ? Status::more : Status::bad;
    case Expect::colon:
      expect_ = Expect::value;
      return c == ':' ? Status::more : Status::bad;
    case Expect::comma_or_end:
      if (c != ',') return close(c);
      expect_ = open_.back() == '{' ? Expect::key : Expect::value;
      return Status::more;
  }
  return Status::bad;
}

JsonScanner::Status JsonScanner::begin_value(char c) {
  if (c == '{' || c == '[') {
    if (open_.size() == kMaxDepth) return Status::bad;
    open_.push_back(c);
    expect_ = c == '{' ? Expect::key_or_end : Expect::value_or_end;
    return Status::more;
  }
  if (open_.empty()) return Status::bad;
  if (c == '"') {
    in_string_ = true;
    is_key_ = false;
  } else if (c == '-' || is_digit(c)) {
    number_ = c == '-' ? Number::minus : c == '0' ? Number::zero : Number::digits;
  } else if (c == 't' || c == 'f' || c == 'n') {
    literal_ = c == 't' ? "rue" : c == 'f' ? "alse" : "ull";
  } else {
    return Status::bad;
  }
  return Status::more;
}

JsonScanner::Status JsonScanner::end_value() {
  expect_ = Expect::comma_or_end;
  return Status::more;
}

JsonScanner::Status JsonScanner::close(char bracket) {
  if (bracket != (open_.back() == '{' ? '}' : ']')) return Status::bad;
  open_.pop_back();
  if (open_.empty()) return Status::done;
  return end_value();
}

}  // namespace pagoda
