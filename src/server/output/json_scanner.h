// Checks the grammar of one JSON object or array that comes byte by byte, in constant time for each byte and
// in bounded memory. Control characters inside strings, which JSON wants escaped, are let through: models
// write line ends there. Bytes beyond ASCII are not examined.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace pagoda {

class JsonScanner {
 public:
  static constexpr size_t kMaxDepth = 64;
  enum class Status { more, done, bad };

  Status push(char c);
  // Open objects and arrays.
  size_t depth() const { return open_.size(); }
  bool in_string() const { return in_string_; }
  // Whether the string that is open, or was the last one, is the name of a member.
  bool string_is_key() const { return is_key_; }

 private:
  enum class Expect { value, value_or_end, key, key_or_end, colon, comma_or_end };
  enum class Number { none, minus, zero, digits, point, fraction, exponent, sign, power };

  Status push_in_string(char c);
  Status push_in_number(char c);
  Status push_structure(char c);
  Status begin_value(char c);
  Status end_value();
  Status close(char bracket);

  std::vector<char> open_;
  Expect expect_ = Expect::value;
  bool in_string_ = false;
  bool is_key_ = false;
  bool escaped_ = false;
  int hex_digits_ = 0;  // of \uXXXX, still to come
  Number number_ = Number::none;
  std::string_view literal_;  // the rest of true, false or null
};

}  // namespace pagoda
