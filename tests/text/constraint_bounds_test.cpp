// Hostile schemas, expressions and grammars: each is compiled or refused within a bounded time, and what
// compiles is bounded in the work of each token.
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "support/cpu_time.h"
#include "support/fake_tokenizer.h"
#include "text/constraint.h"

namespace pagoda::testing {
namespace {

using Kind = ConstraintSource::Kind;

constexpr TokenId kEnd = 0;

FakeTokenizer byte_tokenizer() {
  std::vector<std::string> texts = {"<|end|>"};
  for (int byte = 0; byte < 256; ++byte) texts.emplace_back(1, static_cast<char>(byte));
  for (char a = 'a'; a <= 'z'; ++a)
    for (char b = 'a'; b <= 'z'; ++b) texts.push_back({a, b});
  return FakeTokenizer(std::move(texts), {kEnd}, -1, kEnd);
}

std::string repeated(std::string_view text, int count, std::string_view separator = "") {
  std::string result;
  for (int i = 0; i < count; ++i) {
    if (i > 0) result += separator;
    result += text;
  }
  return result;
}

std::string numbered(int count, std::string_view separator, const std::function<std::string(int)>& item) {
  std::string result;
  for (int i = 0; i < count; ++i) {
    if (i > 0) result += separator;
    result += item(i);
  }
  return result;
}

class ConstraintBoundsTest : public ::testing::Test {
 protected:
  static constexpr double kMaxTokenMs = 500;
  static constexpr int kNumTokens = 300;

  // Whether it compiles. If so, tokens are taken at random until the end, or an error, or kNumTokens.
  bool survives(Kind kind, const std::string& text) {
    const double begin = cpu_ms();
    const auto compiled = factory.compile({.kind = kind, .text = text});
    const double elapsed = cpu_ms() - begin;
    EXPECT_LT(elapsed, kMaxCompileMs) << text.substr(0, 200);
    last_message = compiled ? "" : compiled.error().message;
    EXPECT_LT(last_message.size(), 2000u);
    if (compiled) walk(**compiled, text);
    return compiled.has_value();
  }
  bool schema(const std::string& text) { return survives(Kind::json_schema, text); }
  bool grammar(const std::string& text) { return survives(Kind::grammar, text); }
  bool regex(const std::string& text) { return survives(Kind::regex, text); }

  void walk(const CompiledConstraint& compiled, const std::string& text) {
    Constraint constraint = std::move(*compiled.start());
    std::vector<uint32_t> words((static_cast<size_t>(tokenizer.vocab_size()) + 31) / 32);
    double worst = 0;
    uint32_t random = 1;
    for (int i = 0; i < kNumTokens && !constraint.is_finished(); ++i) {
      const double begin = cpu_ms();
      if (!constraint.fill_mask(words)) break;
      std::vector<TokenId> allowed;
      for (TokenId token = 1; token < tokenizer.vocab_size(); ++token)
        if ((words[static_cast<size_t>(token) / 32] >> (token % 32) & 1u) != 0) allowed.push_back(token);
      if (allowed.empty()) break;
      random = random * 1664525u + 1013904223u;
      const Status taken = constraint.consume(allowed[(random >> 8) % allowed.size()]);
      worst = std::max(worst, cpu_ms() - begin);
      if (!taken) break;
    }
    EXPECT_LT(worst, kMaxTokenMs) << text.substr(0, 200);
  }

  const FakeTokenizer tokenizer = byte_tokenizer();
  const ConstraintFactory factory = std::move(*ConstraintFactory::create(tokenizer, std::vector{kEnd}));
  std::string last_message;
};

TEST_F(ConstraintBoundsTest, SizeAndNesting) {
  EXPECT_FALSE(schema(std::string(1 << 20, ' ') + "{}"));
  EXPECT_FALSE(schema(std::string(100'000, '[')));
  EXPECT_FALSE(schema(repeated(R"({"items":)", 120) + "{}" + std::string(120, '}')));
  EXPECT_FALSE(schema(repeated(R"({"items":)", 5000) + "{}" + std::string(5000, '}')));
  EXPECT_FALSE(schema(R"({"const":)" + repeated("[", 100) + std::string(100, ']') + "}"));
  EXPECT_TRUE(schema(repeated(R"({"items":)", 50) + "{}" + std::string(50, '}')));
  EXPECT_FALSE(grammar("start: " + std::string(60'000, '(')));
  EXPECT_FALSE(grammar("root ::= " + std::string(60'000, '(')));
  EXPECT_FALSE(regex(std::string(60'000, '(')));
  EXPECT_FALSE(regex(repeated("(", 1000) + "a" + std::string(1000, ')')));
}

TEST_F(ConstraintBoundsTest, Enumerations) {
  const auto words = [](int i) { return fmt::format("\"word{}\"", i * 7919 % 100'003); };
  EXPECT_TRUE(schema(R"({"type":"string","enum":[)" + numbered(1000, ",", words) + "]}"));
  schema(R"({"enum":[)" + numbered(9000, ",", words) + "]}");
  EXPECT_FALSE(schema(R"({"enum":[)" + numbered(20'000, ",", words) + "]}"));
  survives(Kind::choice, "[" + numbered(4000, ",", words) + "]");
  EXPECT_FALSE(survives(Kind::choice, "[" + numbered(5000, ",", words) + "]"));
  schema(R"({"enum":[)" + numbered(3000, ",", [](int i) { return fmt::format(R"({{"k{}":[{}]}})", i, i); }) +
         "]}");
}

TEST_F(ConstraintBoundsTest, ProductsOfAlternatives) {
  const auto any_of = [](int width) {
    return "{\"anyOf\":[" +
           numbered(width, ",",
                    [](int i) {
                      return fmt::format(R"({{"type":"object","properties":{{"a{}":{{"type":"integer"}}}}}})",
                                         i);
                    }) +
           "]}";
  };
  EXPECT_FALSE(schema("{\"allOf\":[" + repeated(any_of(10), 12, ",") + "]}"));
  EXPECT_FALSE(schema("{\"allOf\":[" + repeated(any_of(300), 2, ",") + "]}"));
  schema("{\"allOf\":[" + repeated(any_of(20), 2, ",") + "]}");
  EXPECT_FALSE(schema("{\"allOf\":[" + repeated(R"({"type":["integer","null","string"]})", 40, ",") + "]}"));
  const std::string branch = R"({"anyOf":[)" + repeated(R"({"type":"integer"})", 60, ",") + "]}";
  schema(R"({"oneOf":[)" + repeated(branch, 80, ",") + "]}");
}

TEST_F(ConstraintBoundsTest, References) {
  // Each definition holds the next one twice.
  const auto doubling = [](int i) {
    return fmt::format(
        R"("d{}":{{"type":"object","properties":{{"a":{{"$ref":"#/$defs/d{}"}},"b":{{"$ref":"#/$defs/d{}"}}}}}})",
        i, i + 1, i + 1);
  };
  const std::string chain = numbered(40, ",", doubling) + R"(,"d40":{"type":"null"})";
  EXPECT_TRUE(schema(R"({"$ref":"#/$defs/d0","$defs":{)" + chain + "}}"));
  EXPECT_FALSE(schema(R"({"allOf":[{"$ref":"#/$defs/d0"},{"$ref":"#/$defs/d1"}],"$defs":{)" + chain + "}}"));
  const auto all_of = [](int i) {
    return fmt::format(R"("d{}":{{"allOf":[{{"$ref":"#/$defs/d{}"}},{{"$ref":"#/$defs/d{}"}}]}})", i, i + 1,
                       i + 1);
  };
  EXPECT_FALSE(schema(R"({"$ref":"#/$defs/d0","$defs":{)" + numbered(60, ",", all_of) +
                      R"(,"d60":{"anyOf":[{"type":"null"},{"type":"integer"}]}}})"));
  const auto link = [](int i) { return fmt::format(R"("d{}":{{"$ref":"#/$defs/d{}"}})", i, i + 1); };
  schema(R"({"$ref":"#/$defs/d0","$defs":{)" + numbered(5000, ",", link) + R"(,"d5000":{"type":"null"}}})");
  const auto nested = [](int i) {
    return fmt::format(R"("d{}":{{"items":{{"$ref":"#/$defs/d{}"}}}})", i, i + 1);
  };
  schema(R"({"$ref":"#/$defs/d0","$defs":{)" + numbered(4000, ",", nested) + R"(,"d4000":{"type":"null"}}})");
  EXPECT_FALSE(schema(R"({"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}}})"));
  EXPECT_FALSE(schema(R"({"allOf":[{"$ref":"#/$defs/a"},{"$ref":"#/$defs/b"}],"$defs":{
      "a":{"type":"object","properties":{"x":{"$ref":"#/$defs/a"},"y":{"$ref":"#/$defs/a"}}},
      "b":{"type":"object","properties":{"x":{"$ref":"#/$defs/b"},"y":{"$ref":"#/$defs/b"}}}}})"));
  EXPECT_NE(last_message.find("themselves"), std::string::npos) << last_message;
}

TEST_F(ConstraintBoundsTest, ManyProperties) {
  const auto property = [](int i) { return fmt::format(R"("property{}":{{"type":"integer"}})", i); };
  EXPECT_TRUE(schema(R"({"type":"object","additionalProperties":false,"properties":{)" +
                     numbered(200, ",", property) + "}}"));
  schema(R"({"type":"object","properties":{)" + numbered(3000, ",", property) + "}}");
  schema(R"({"type":"object","minProperties":1,"maxProperties":1000000,"properties":{)" +
         numbered(500, ",", property) + "}}");
  schema(R"({"type":"object","minProperties":1000000})");
  schema(R"({"type":"array","minItems":1000000000})");
  schema(R"({"type":"array","minItems":18446744073709551615})");
  schema(R"({"type":"array","items":{"type":"array","minItems":100000},"minItems":100000})");
  EXPECT_FALSE(schema(R"({"type":"object","patternProperties":{)" +
                      numbered(60, ",", [](int i) { return fmt::format(R"("^a{}[a-z]*$":{{}})", i); }) +
                      "}}"));
  schema(R"({"type":"object","patternProperties":{"^(a|b|ab)*$":{},"^(a|b|ab)*c$":{},"(x+x+)+y":{}}})");
}

TEST_F(ConstraintBoundsTest, StringsAndNumbers) {
  schema(R"({"type":"string","minLength":1000000,"maxLength":2000000})");
  schema(R"({"type":"string","maxLength":18446744073709551615})");
  schema(R"({"type":"string","pattern":"^(a+)+$"})");
  schema(R"({"type":"string","pattern":"(a|a)*b(a|b){500}$","minLength":100})");
  schema(R"({"type":"string","pattern":"((\\p{L}{50}){50}){50}"})");
  schema(R"({"allOf":[)" +
         numbered(40, ",",
                  [](int i) { return fmt::format(R"({{"type":"string","pattern":"a[ab]{{{}}}b"}})", i); }) +
         "]}");
  schema(R"({"type":"number","multipleOf":1e-300})");
  schema(R"({"type":"integer","multipleOf":99999989})");
  schema(R"({"allOf":[{"multipleOf":99999989},{"multipleOf":99999971}]})");
  schema(R"({"type":"integer","minimum":-1e308,"maximum":1e308})");
  schema(R"({"type":"number","minimum":1e-320,"exclusiveMaximum":2e-320})");
}

TEST_F(ConstraintBoundsTest, Expressions) {
  regex("(a+)+b");
  regex("(a|b)*a(a|b){2000}");
  regex("((a{1000}){1000}){1000}");
  regex(repeated("[ab]", 20'000));
  regex(repeated("a?", 5000) + repeated("a", 5000));
  regex(numbered(20'000, "|", [](int i) { return fmt::format("w{}", i); }));
  regex("(" + repeated("(?i:word)|\\p{Greek}+|", 2000) + "x)*");
  regex(repeated("(.*a.*b)", 2000));
  EXPECT_FALSE(regex("a{99999999999}"));
  EXPECT_FALSE(regex("[z-a]"));
  EXPECT_FALSE(regex("(a)\\1"));
  EXPECT_FALSE(regex("[]"));
}

TEST_F(ConstraintBoundsTest, Grammars) {
  grammar("start: " + numbered(4000, " ", [](int i) { return fmt::format("\"w{}\"", i); }));
  grammar("start: r0\n" + numbered(5000, "\n", [](int i) { return fmt::format("r{}: r{}", i, i + 1); }) +
          "\nr5000: \"x\"\n");
  grammar("start: T0\n" +
          numbered(60, "\n", [](int i) { return fmt::format("T{}: T{} T{}", i, i + 1, i + 1); }) +
          "\nT60: \"x\"\n");
  grammar("start: r0\n" +
          numbered(60, "\n", [](int i) { return fmt::format("r{}: r{} r{}", i, i + 1, i + 1); }) +
          "\nr60: \"x\"\n");
  grammar("start: many\nmany: many many | many many many | /[a-z]/\n");
  grammar("start: a\na: a b | b a |\nb: a | \"x\"\n");
  grammar("start: (((\"a\"{1,1000}){1,1000}){1,1000}){1,1000}\n");
  grammar("start: A{1,100000} B\nA: /[a-z]/\nB: /[a-z]+/\n");
  grammar("start: T\nT: /(?s:.*)/ & ~/(?s:.*)(a|b){300}c(?s:.*)/ & ~/(?s:.*)(b|c){200}d(?s:.*)/\n");
  grammar("start: start\n");
  grammar("start: a\na: a\n");
  grammar("start: x[max_tokens=5]\nx: /.*/\n");
  grammar("start: %json {\"not\":{}}\n");
  EXPECT_NE(last_message.find("'not'"), std::string::npos) << last_message;
  grammar("start: a b\na: %json {\"minItems\":1000}\nb: %json " + repeated("{\"items\":", 100) + "{}" +
          std::string(100, '}'));
  EXPECT_NE(last_message, "");
  grammar("start: %regex {\"substring_chars\":\"" + std::string(50'000, 'a') + "\"}\n");
  grammar("%llguidance {\"allow_invalid_utf8\":true}\nstart: /(?s:.*)/\n");
  grammar("root ::= " + repeated("(\"a\" | ", 150) + "\"b\"" + std::string(150, ')'));
  grammar("root ::= root root | root root root | \"a\" | [b-z]");
  grammar("root ::= x{1,9999999}\nx ::= [a-z]{1,9999999} x?");
}

size_t allocated_bytes() {
  const struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

// Like the vocabularies of models: words, most of them with a space before, and pieces of them.
FakeTokenizer large_tokenizer(int64_t num_tokens) {
  std::mt19937 random(1);
  std::vector<std::string> texts = {"<|end|>"};
  for (int byte = 0; byte < 256; ++byte) texts.emplace_back(1, static_cast<char>(byte));
  while (std::ssize(texts) < num_tokens) {
    std::string text = random() % 3 == 0 ? "" : " ";
    for (uint32_t left = 2 + random() % 8; left > 0; --left) text += static_cast<char>('a' + random() % 26);
    texts.push_back(std::move(text));
  }
  return FakeTokenizer(std::move(texts), {kEnd}, -1, kEnd);
}

TEST(ConstraintMemory, AFactoryTakesNoMoreThanItSays) {
  const FakeTokenizer tokenizer = large_tokenizer(50'000);
  const uint64_t bound = ConstraintFactory::memory_bytes(tokenizer);
  const size_t before = allocated_bytes();
  std::atomic<bool> built{false};
  size_t peak = 0;
  std::thread watcher([&] {
    while (!built) peak = std::max(peak, allocated_bytes());
  });
  const auto factory = ConstraintFactory::create(tokenizer, std::vector{kEnd});
  const size_t after = allocated_bytes();
  built = true;
  watcher.join();
  ASSERT_TRUE(factory);
  if (after == before) GTEST_SKIP() << "another allocator is at work";
  EXPECT_LE(std::max(peak, after) - before, bound);
  EXPECT_GE(after - before, bound / 2) << "a bound far above wastes memory";
}

}  // namespace
}  // namespace pagoda::testing
