#include "text/golden_file.h"

#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

namespace pagoda::testing {

std::string read_test_file(const std::string& name) {
  std::ifstream file(std::string(PAGODA_TEST_DATA) + "/" + name, std::ios::binary);
  EXPECT_TRUE(file) << name;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::vector<boost::json::object> read_json_lines(const std::string& name) {
  std::istringstream lines(read_test_file(name));
  std::vector<boost::json::object> objects;
  for (std::string line; std::getline(lines, line);) objects.push_back(boost::json::parse(line).as_object());
  EXPECT_FALSE(objects.empty()) << name;
  return objects;
}

std::string string_of(const boost::json::object& object, std::string_view key) {
  return std::string(object.at(key).as_string());
}

std::vector<TokenId> ids_of(const boost::json::object& object, std::string_view key) {
  return boost::json::value_to<std::vector<TokenId>>(object.at(key));
}

std::vector<std::string> strings_of(const boost::json::object& object, std::string_view key) {
  return boost::json::value_to<std::vector<std::string>>(object.at(key));
}

}  // namespace pagoda::testing
