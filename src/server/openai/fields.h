// Reads the members of a JSON object into typed values. The first error sticks and names its parameter, so
// that a parse reads as a list of fields with one check at its end. A member that is absent or null leaves
// its target untouched.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include "server/openai/api_error.h"

namespace pagoda {

// Both ends are allowed values.
struct IntegerRange {
  int64_t min = std::numeric_limits<int64_t>::min();
  int64_t max = std::numeric_limits<int64_t>::max();
};
struct DecimalRange {
  double min = 0;
  double max = 0;
  enum class Lower { inclusive, exclusive } lower = Lower::inclusive;
};

inline constexpr size_t kMaxUnread = 64;

class Fields {
 public:
  // `path` precedes the names in errors, e.g. "stream_options.".
  explicit Fields(const boost::json::object& object, std::string path = {})
      : object_(object), path_(std::move(path)), read_(object.size()) {}

  void boolean(std::string_view name, bool& out);
  void boolean(std::string_view name, std::optional<bool>& out);
  void decimal(std::string_view name, DecimalRange range, float& out);
  void integer(std::string_view name, IntegerRange range, int64_t& out);
  void integer(std::string_view name, IntegerRange range, int32_t& out);
  void integer(std::string_view name, IntegerRange range, std::optional<int64_t>& out);
  void string(std::string_view name, std::string& out);
  // An array of integers, each within the range.
  void integers(std::string_view name, IntegerRange range, size_t max_count, std::vector<int32_t>& out);

  // The member, or nullptr if it is absent, null or of another kind (which is an error, but for `any`).
  const boost::json::value* any(std::string_view name) const;
  const boost::json::object* object(std::string_view name);
  const boost::json::array* array(std::string_view name);

  // Members that nothing above was asked for, the first kMaxUnread of them.
  std::vector<std::string> unread() const;

  void fail_with(ApiError error);  // keeps an earlier one
  const std::optional<ApiError>& error() const { return error_; }
  std::string path(std::string_view name) const { return path_ + std::string(name); }

 private:
  std::optional<int64_t> read_integer(std::string_view name, IntegerRange range);

  const boost::json::object& object_;
  std::string path_;
  mutable std::vector<bool> read_;  // by position of the member
  std::optional<ApiError> error_;
};

// 400 "Invalid type for 'param': expected …, but got … instead."
ApiError wrong_type(std::string_view param, std::string_view expected, const boost::json::value& got);
ApiError missing_parameter(std::string_view param);
// 400 "Invalid 'param': expected one of …."
ApiError unknown_word(std::string_view param, std::span<const std::string_view> words);
// An integer, also if written as 5.0; none for anything else.
std::optional<int64_t> as_integer(const boost::json::value& value);
// The number, or the error that names `param`.
ApiResult<int64_t> checked_integer(const boost::json::value& value, std::string_view param,
                                   IntegerRange range);

}  // namespace pagoda
