// Masks by short cuts are those of one question for each token: near the end of strings of bounded length
// above all, where tokens are told by their length, and where something looks like such a string and is none.
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "support/fake_tokenizer.h"
#include "text/constraint.h"

namespace pagoda::testing {
namespace {

using Kind = ConstraintSource::Kind;

constexpr TokenId kEnd = 0;

// All bytes, words of up to 40 letters, some with other signs, characters of several bytes, and pieces of
// JSON.
FakeTokenizer word_tokenizer() {
  std::vector<std::string> texts = {"<|end|>"};
  for (int byte = 0; byte < 256; ++byte) texts.emplace_back(1, static_cast<char>(byte));
  for (const char* text : {"\",\"", "\":\"", "\"}",           "\"]",      "{\"",  "[\"",          "\\n",
                           "a\"",   "ab\"",  "abcdefgh\",\"", "ä",        "日本", "日本語日本語", "aä",
                           "größe", " \"",   "\\\"",          "\x7f\x7f", "a\nb", "\xe6\x97",     "a\xc3"})
    texts.emplace_back(text);
  std::mt19937 random(3);
  for (size_t length = 2; length <= 40; ++length)
    for (int i = 0; i < 6; ++i) {
      std::string text(length, 'a');
      for (char& letter : text) letter = "abcxyz 019-_'{}"[random() % (i % 2 == 0 ? 3 : 15)];
      texts.push_back(std::move(text));
    }
  return FakeTokenizer(std::move(texts), {kEnd}, -1, kEnd);
}

class ConstraintMaskTest : public ::testing::TestWithParam<std::pair<Kind, const char*>> {
 protected:
  const FakeTokenizer tokenizer = word_tokenizer();
  const ConstraintFactory factory = std::move(*ConstraintFactory::create(tokenizer, std::vector{kEnd}));
};

TEST_P(ConstraintMaskTest, AllowsWhatIsAllowed) {
  const auto compiled = factory.compile({.kind = GetParam().first, .text = GetParam().second});
  ASSERT_TRUE(compiled) << compiled.error().message;
  std::mt19937 random(7);
  std::vector<uint32_t> words((static_cast<size_t>(tokenizer.vocab_size()) + 31) / 32);
  for (int walk = 0; walk < 12; ++walk) {
    Constraint constraint = std::move(*(*compiled)->start());
    std::string text;
    for (int step = 0; step < 40 && !constraint.is_finished(); ++step) {
      ASSERT_TRUE(constraint.fill_mask(words));
      std::vector<TokenId> allowed;
      for (TokenId token = 0; token < tokenizer.vocab_size(); ++token) {
        const bool in_mask = (words[static_cast<size_t>(token) / 32] >> (token % 32) & 1u) != 0;
        ASSERT_EQ(in_mask, *constraint.allows(token))
            << "'" << tokenizer.token_text(token) << "' after " << text;
        if (in_mask) allowed.push_back(token);
      }
      ASSERT_FALSE(allowed.empty()) << text;
      const TokenId token = allowed[random() % allowed.size()];
      tokenizer.append_bytes(token, text);
      ASSERT_TRUE(constraint.consume(token));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Sources, ConstraintMaskTest,
    ::testing::Values(
        std::pair(Kind::json_schema, R"({"type":"string","maxLength":12})"),
        std::pair(Kind::json_schema, R"({"type":"string","minLength":5,"maxLength":33})"),
        std::pair(Kind::json_schema, R"({"type":"array","items":{"type":"string","maxLength":3}})"),
        std::pair(Kind::json_schema, R"({"type":"string"})"),
        std::pair(Kind::json_schema,
                  R"({"anyOf":[{"type":"string","maxLength":6},{"enum":["abcabcabcabc","x"]}]})"),
        std::pair(Kind::json_schema, R"({"type":"string","pattern":"^[a-z]{0,9}$"})"),
        std::pair(
            Kind::json_schema,
            R"({"type":"object","properties":{"abc":{"type":"string","maxLength":20},"x":{"type":"integer"}},
                      "additionalProperties":{"type":"string","maxLength":8}})"),
        std::pair(Kind::regex, R"([ -~]{0,15})"), std::pair(Kind::regex, R"(.{3,14}z)"),
        std::pair(Kind::grammar, "start: W+\nW: /[ -~]{2}/\n"),
        // A letter goes on with a word or begins the next.
        std::pair(Kind::grammar, "start: W+\nW: /[a-m]{2}|[ -~]/\n"),
        std::pair(Kind::grammar, "start: A B\nA: /[ -~]{0,4}/\nB: /[ -~]{3}/\n"),
        // After four signs 'ä' could follow, or the next word.
        std::pair(Kind::grammar, "start: A B\nA: /[ -~]{1,4}ä?/\nB: /[ -~]{3}/\n"),
        std::pair(Kind::grammar, "start: w+\nw[lazy]: /[ -~]{1,4}z/\n")));

}  // namespace
}  // namespace pagoda::testing
