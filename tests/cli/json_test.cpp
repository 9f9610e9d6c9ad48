#include "cli/json.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>
#include <boost/json.hpp>

namespace pagoda {
namespace {

TEST(Json, WritesOneLine) {
  const boost::json::value value = {{"a", {1, -2}}, {"b", "x\n\"é"}, {"c", nullptr}, {"d", true}, {"e", 0.1}};
  EXPECT_EQ(to_json(value), R"({"a": [1, -2], "b": "x\n\"é", "c": null, "d": true, "e": 0.1})");
  EXPECT_EQ(to_json(boost::json::object()), "{}");
  EXPECT_EQ(to_json(boost::json::array()), "[]");
  EXPECT_EQ(to_json(std::numeric_limits<double>::quiet_NaN()), "null");
}

TEST(Json, NumbersReadBackTheSame) {
  for (const double number : {1e300, -5e-324, 1.0 / 3, 123456789.125, 0.0, 1e22}) {
    EXPECT_EQ(std::strtod(to_json(number).c_str(), nullptr), number);
  }
  EXPECT_EQ(to_json(float_number(0.1f)), "0.1");
  EXPECT_EQ(static_cast<float>(float_number(-1.2345678e-7f)), -1.2345678e-7f);
}

TEST(Json, SplitsAnObjectWithoutChangingItsValues) {
  const auto members = split_json_object(R"( {"a" : 1.50 , "b{":{"x":"}\"]"},"c":[ {}, "," ], "é":null} )");
  ASSERT_TRUE(members) << members.error().message;
  const JsonMembers expected = {
      {"a", "1.50"}, {"b{", R"({"x":"}\"]"})"}, {"c", R"([ {}, "," ])"}, {"é", "null"}};
  EXPECT_EQ(*members, expected);
  EXPECT_TRUE(split_json_object("{}")->empty());
}

TEST(Json, RefusesWhatIsNoObject) {
  for (const char* text : {"", "[]", "1", "{", R"({"a"})", "{} {}", R"({"a":01})"})
    EXPECT_FALSE(split_json_object(text)) << text;
  EXPECT_FALSE(parse_json_string("1"));
  EXPECT_EQ(parse_json_string(R"("\u00e9\n")"), "é\n");
}

}  // namespace
}  // namespace pagoda
