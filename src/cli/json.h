// JSON of the command line: what it prints and the lines it reads.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/json/fwd.hpp>

#include "base/result.h"

namespace pagoda {

// One line of JSON. Numbers have as many digits as it takes to read back the same double; NaN and infinity
// become null. Strings must be UTF-8.
std::string to_json(const boost::json::value& value);

// The double with the fewest digits that reads back as this float: what to put into a value.
double float_number(float value);

// The members of one JSON object as they are written: values unparsed, so that numbers keep their spelling.
// invalid_argument if `text` is not exactly one object. Views into `text`.
using JsonMembers = std::vector<std::pair<std::string, std::string_view>>;
Result<JsonMembers> split_json_object(std::string_view text);

// The text of a JSON string literal.
Result<std::string> parse_json_string(std::string_view literal);

// A whole object. invalid_argument if `text` is anything else.
Result<boost::json::object> json_object_of(std::string_view text);

// Calls handle(line) for each line of a file that is not blank. An error is prefixed with the file and line
// number.
Status for_each_line(const std::string& path, const std::function<Status(std::string_view line)>& handle);

}  // namespace pagoda
