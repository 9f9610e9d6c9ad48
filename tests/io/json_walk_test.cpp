#include "io/json_walk.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pagoda {
namespace {

using ::testing::ElementsAre;

// Writes down what it is shown.
class Recorder final : public JsonVisitor {
 public:
  explicit Recorder(std::string fail_at = "-") : fail_at_(std::move(fail_at)) {}
  std::vector<std::string> lines;

  Status on_begin(JsonContainer kind, JsonPath path) override {
    return add(path, kind == JsonContainer::object ? "{" : "[");
  }
  Status on_end(JsonPath path) override { return add(path, "end"); }
  Status on_scalar(const JsonScalar& value, JsonPath path) override {
    if (const auto* number = std::get_if<int64_t>(&value)) return add(path, fmt::format("{}", *number));
    if (const auto* text = std::get_if<std::string_view>(&value))
      return add(path, fmt::format("'{}'", *text));
    return add(path, "other");
  }

 private:
  Status add(JsonPath path, std::string_view event) {
    lines.push_back(fmt::format("{}={}", fmt::join(path, "/"), event));
    if (lines.back() == fail_at_) return fail(ErrorCode::unsupported, "stop");
    return {};
  }
  std::string fail_at_;
};

TEST(JsonWalk, ShowsEverythingInOrderWithItsPath) {
  Recorder recorder;
  ASSERT_TRUE(walk_json(R"({"a":[1,{"b":"x"},[]],"a":-5,"c":{"d":null,"e":1.5,"f":true}})", "t", recorder));
  EXPECT_THAT(recorder.lines,
              ElementsAre("={", "a=[", "a/=1", "a/={", "a//b='x'", "a/=end", "a/=[", "a/=end", "a=end",
                          "a=-5", "c={", "c/d=other", "c/e=other", "c/f=other", "c=end", "=end"));
}

TEST(JsonWalk, PutsEscapesAndLongTextsTogether) {
  const std::string text(5000, 'y');
  Recorder recorder;
  ASSERT_TRUE(walk_json(R"(["\u00e9\n\ud83d\ude00",)" + ("\"" + text + "\\t\"") + R"(,{"k\u0041\\":0}])", "t",
                        recorder));
  EXPECT_THAT(recorder.lines,
              ElementsAre("=[", "='é\n😀'", "='" + text + "\t'", "={", "/kA\\=0", "=end", "=end"));
}

TEST(JsonWalk, IntegersAtTheirLimits) {
  Recorder recorder;
  ASSERT_TRUE(walk_json("[9223372036854775807,-9223372036854775808,9223372036854775808,1e3,1e999,-0]", "t",
                        recorder));
  EXPECT_THAT(recorder.lines, ElementsAre("=[", "=9223372036854775807", "=-9223372036854775808", "=other",
                                          "=other", "=other", "=0", "=end"));
}

TEST(JsonWalk, AVisitorsErrorEndsTheWalk) {
  Recorder recorder("b=2");
  const Status status = walk_json(R"({"a":1,"b":2,"c":3})", "t", recorder);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::unsupported);
  EXPECT_EQ(status.error().message, "stop");
  EXPECT_EQ(recorder.lines.back(), "b=2");
}

TEST(JsonWalk, RefusesWhatIsNotOneJsonValue) {
  for (const std::string& text :
       {std::string(), std::string("  "), std::string("{"), std::string("[1,]"), std::string("[1] 2"),
        std::string("01"), std::string("\"\xc3\""), std::string("\"\n\""), std::string("[1]\0", 4),
        std::string("nul"), std::string(40, '[') + std::string(40, ']')}) {
    Recorder recorder;
    const Status status = walk_json(text, "x: the text", recorder);
    ASSERT_FALSE(status) << text;
    EXPECT_EQ(status.error().code, ErrorCode::corrupt);
    EXPECT_THAT(status.error().message, ::testing::StartsWith("x: the text ")) << text;
  }
}

}  // namespace
}  // namespace pagoda
