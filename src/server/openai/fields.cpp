#include "server/openai/fields.h"

#include <cmath>

#include <fmt/ranges.h>
#include <boost/json.hpp>

namespace pagoda {
namespace json = boost::json;

namespace {

std::string_view kind_name(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return "null";
    case json::kind::bool_:
      return "a boolean";
    case json::kind::int64:
    case json::kind::uint64:
      return "an integer";
    case json::kind::double_:
      return "a decimal";
    case json::kind::string:
      return "a string";
    case json::kind::array:
      return "an array";
    case json::kind::object:
      return "an object";
  }
  return "something else";
}

// Infinite where the text is a number too large for a double.
std::optional<double> as_decimal(const json::value& value) {
  if (value.is_int64()) return static_cast<double>(value.get_int64());
  if (value.is_uint64()) return static_cast<double>(value.get_uint64());
  if (value.is_double()) return value.get_double();
  return std::nullopt;
}

}  // namespace

ApiError wrong_type(std::string_view param, std::string_view expected, const json::value& got) {
  return bad_parameter(param, "invalid_type",
                       fmt::format("Invalid type for '{}': expected {}, but got {} instead.", param, expected,
                                   kind_name(got)));
}

ApiError missing_parameter(std::string_view param) {
  return bad_parameter(param, "missing_required_parameter",
                       fmt::format("Missing required parameter: '{}'.", param));
}

ApiError unknown_word(std::string_view param, std::span<const std::string_view> words) {
  return bad_parameter(param, "invalid_value",
                       fmt::format("Invalid '{}': expected one of {}.", param, fmt::join(words, ", ")));
}

std::optional<int64_t> as_integer(const json::value& value) {
  if (value.is_int64()) return value.get_int64();
  if (!value.is_double()) return std::nullopt;
  constexpr double kExact = 9007199254740992.0;  // 2^53: beyond, a double is not one integer
  const double number = value.get_double();
  if (!(std::abs(number) <= kExact) || number != std::trunc(number)) return std::nullopt;
  return static_cast<int64_t>(number);
}

ApiResult<int64_t> checked_integer(const json::value& value, std::string_view param, IntegerRange range) {
  const std::optional<int64_t> number = as_integer(value);
  if (!number && value.is_uint64())
    return std::unexpected(
        bad_parameter(param, "integer_above_max_value",
                      fmt::format("Invalid '{}': integer above maximum value. Expected a value <= "
                                  "{}, but got {} instead.",
                                  param, range.max, value.get_uint64())));
  if (!number) return std::unexpected(wrong_type(param, "an integer", value));
  if (*number < range.min)
    return std::unexpected(
        bad_parameter(param, "integer_below_min_value",
                      fmt::format("Invalid '{}': integer below minimum value. Expected a value >= "
                                  "{}, but got {} instead.",
                                  param, range.min, *number)));
  if (*number > range.max)
    return std::unexpected(
        bad_parameter(param, "integer_above_max_value",
                      fmt::format("Invalid '{}': integer above maximum value. Expected a value <= "
                                  "{}, but got {} instead.",
                                  param, range.max, *number)));
  return *number;
}

void Fields::fail_with(ApiError error) {
  if (!error_) error_ = std::move(error);
}

const json::value* Fields::any(std::string_view name) const {
  const auto member = object_.find(name);
  if (member == object_.end()) return nullptr;
  read_[static_cast<size_t>(member - object_.begin())] = true;
  return member->value().is_null() ? nullptr : &member->value();
}

std::vector<std::string> Fields::unread() const {
  std::vector<std::string> names;
  for (size_t i = 0; i < read_.size() && names.size() < kMaxUnread; ++i)
    if (!read_[i]) names.emplace_back((object_.begin() + static_cast<std::ptrdiff_t>(i))->key());
  return names;
}

const json::object* Fields::object(std::string_view name) {
  const json::value* value = any(name);
  if (value && !value->is_object()) fail_with(wrong_type(path(name), "an object", *value));
  return value ? value->if_object() : nullptr;
}

const json::array* Fields::array(std::string_view name) {
  const json::value* value = any(name);
  if (value && !value->is_array()) fail_with(wrong_type(path(name), "an array", *value));
  return value ? value->if_array() : nullptr;
}

void Fields::boolean(std::string_view name, bool& out) {
  const json::value* value = any(name);
  if (!value) return;
  if (!value->is_bool()) return fail_with(wrong_type(path(name), "a boolean", *value));
  out = value->get_bool();
}

void Fields::boolean(std::string_view name, std::optional<bool>& out) {
  if (!any(name)) return;
  bool value = false;
  boolean(name, value);
  out = value;
}

void Fields::decimal(std::string_view name, DecimalRange range, float& out) {
  const json::value* value = any(name);
  if (!value) return;
  const std::string param = path(name);
  const std::optional<double> number = as_decimal(*value);
  if (!number) return fail_with(wrong_type(param, "a decimal", *value));
  const bool exclusive = range.lower == DecimalRange::Lower::exclusive;
  // As a float, since a tiny number may become 0.
  if (*number < range.min || (exclusive && static_cast<double>(static_cast<float>(*number)) <= range.min))
    return fail_with(
        bad_parameter(param, "decimal_below_min_value",
                      fmt::format("Invalid '{}': decimal below minimum value. Expected a value {} {}, but "
                                  "got {} instead.",
                                  param, exclusive ? ">" : ">=", range.min, *number)));
  if (*number > range.max)
    return fail_with(
        bad_parameter(param, "decimal_above_max_value",
                      fmt::format("Invalid '{}': decimal above maximum value. Expected a value <= {}, but "
                                  "got {} instead.",
                                  param, range.max, *number)));
  out = static_cast<float>(*number);
}

std::optional<int64_t> Fields::read_integer(std::string_view name, IntegerRange range) {
  const json::value* value = any(name);
  if (!value) return std::nullopt;
  const ApiResult<int64_t> number = checked_integer(*value, path(name), range);
  if (number) return *number;
  fail_with(number.error());
  return std::nullopt;
}

void Fields::integer(std::string_view name, IntegerRange range, int64_t& out) {
  if (const auto number = read_integer(name, range)) out = *number;
}

void Fields::integer(std::string_view name, IntegerRange range, int32_t& out) {
  if (const auto number = read_integer(name, range)) out = static_cast<int32_t>(*number);
}

void Fields::integer(std::string_view name, IntegerRange range, std::optional<int64_t>& out) {
  if (const auto number = read_integer(name, range)) out = number;
}

void Fields::string(std::string_view name, std::string& out) {
  const json::value* value = any(name);
  if (!value) return;
  if (!value->is_string()) return fail_with(wrong_type(path(name), "a string", *value));
  out = std::string(value->get_string());
}

void Fields::integers(std::string_view name, IntegerRange range, size_t max_count,
                      std::vector<int32_t>& out) {
  const json::array* values = array(name);
  if (!values) return;
  if (values->size() > max_count)
    return fail_with(
        bad_parameter(path(name), "array_above_max_length",
                      fmt::format("Invalid '{}': array too long. Expected at most {} elements, but got {} "
                                  "instead.",
                                  path(name), max_count, values->size())));
  out.clear();
  for (size_t i = 0; i < values->size(); ++i) {
    const ApiResult<int64_t> number =
        checked_integer((*values)[i], fmt::format("{}[{}]", path(name), i), range);
    if (!number) return fail_with(number.error());
    out.push_back(static_cast<int32_t>(*number));
  }
}

}  // namespace pagoda
