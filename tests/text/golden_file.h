// Reads golden data of tests/data.
#pragma once

#include <string>
#include <vector>

#include <boost/json.hpp>

#include "text/tokenizer.h"

namespace pagoda::testing {

// The whole file; empty (and a failed test) if it cannot be read.
std::string read_test_file(const std::string& name);
// One JSON object a line.
std::vector<boost::json::object> read_json_lines(const std::string& name);

std::string string_of(const boost::json::object& object, std::string_view key);
std::vector<TokenId> ids_of(const boost::json::object& object, std::string_view key);
std::vector<std::string> strings_of(const boost::json::object& object, std::string_view key);

}  // namespace pagoda::testing
