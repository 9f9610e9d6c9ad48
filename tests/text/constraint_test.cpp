// Constraints over a vocabulary of bytes and a few longer tokens.
#include "text/constraint.h"

#include <thread>

#include <gtest/gtest.h>

#include "support/cpu_time.h"
#include "support/fake_tokenizer.h"

namespace pagoda::testing {
namespace {

using Kind = ConstraintSource::Kind;

constexpr TokenId kEnd = 0;
constexpr TokenId kOtherEnd = 1;

// Two end tokens, a special token, all bytes, and some longer tokens.
FakeTokenizer json_tokenizer() {
  std::vector<std::string> texts = {"<|end|>", "<|eot|>", "<|call|>"};
  for (int byte = 0; byte < 256; ++byte) texts.emplace_back(1, static_cast<char>(byte));
  for (const char* text :
       {"{\"", "\":", "\": ", "true", "false", "null", "\"}", "},", "name", "    ", "<|call|>"})
    texts.emplace_back(text);
  return FakeTokenizer(std::move(texts), {0, 1, 2}, -1, kEnd);
}

class ConstraintTest : public ::testing::Test {
 protected:
  const FakeTokenizer tokenizer = json_tokenizer();
  const ConstraintFactory factory =
      std::move(*ConstraintFactory::create(tokenizer, std::vector{kEnd, kOtherEnd}));

  std::vector<TokenId> encode(std::string_view text) const {
    return *tokenizer.encode(text, Specials::as_text);
  }
  Result<std::shared_ptr<const CompiledConstraint>> compile(Kind kind, std::string text) const {
    return factory.compile({.kind = kind, .text = std::move(text)});
  }
  Constraint start(Kind kind, std::string text) const {
    const auto compiled = compile(kind, std::move(text));
    EXPECT_TRUE(compiled) << compiled.error().message;
    return std::move(*(*compiled)->start());
  }
  std::string refusal(Kind kind, std::string text) const {
    const double begin = cpu_ms();
    const auto compiled = compile(kind, std::move(text));
    EXPECT_LT(cpu_ms() - begin, kMaxCompileMs);
    return compiled ? "compiled" : compiled.error().message;
  }
  std::vector<uint32_t> mask(Constraint& constraint) const {
    std::vector<uint32_t> words((static_cast<size_t>(tokenizer.vocab_size()) + 31) / 32 + 2, 0xffffffffu);
    const Status status = constraint.fill_mask(words);
    EXPECT_TRUE(status) << status.error().message;
    return words;
  }
  static bool has(const std::vector<uint32_t>& words, TokenId token) {
    return (words[static_cast<size_t>(token) / 32] >> (token % 32) & 1u) != 0;
  }
  // The text is taken token by token; each must be in the mask, and allowed.
  void feed(Constraint& constraint, std::string_view text) const {
    for (const TokenId token : encode(text)) {
      EXPECT_TRUE(has(mask(constraint), token)) << tokenizer.token_text(token);
      EXPECT_TRUE(*constraint.allows(token));
      ASSERT_TRUE(constraint.consume(token));
    }
  }
  bool accepts(Kind kind, std::string source, std::string_view text) const {
    Constraint constraint = start(kind, std::move(source));
    for (const TokenId token : encode(text)) {
      if (constraint.is_finished() || !*constraint.allows(token)) return false;
      if (!constraint.consume(token)) return false;
    }
    return *constraint.is_accepting();
  }
  TokenId id(std::string_view text) const { return encode(text).at(0); }
};

TEST_F(ConstraintTest, MaskAndAllowsAgree) {
  Constraint constraint =
      start(Kind::json_schema, R"({"type":"object","properties":{"name":{"type":"string"}},
      "required":["name"],"additionalProperties":false})");
  for (const std::string_view text : {"", "{\"", "name", "\": ", "\"", "a b", "\"}"}) {
    feed(constraint, text);
    const auto words = mask(constraint);
    for (TokenId token = 0; token < tokenizer.vocab_size(); ++token)
      EXPECT_EQ(has(words, token), *constraint.allows(token)) << text << " then " << token;
    for (size_t bit = static_cast<size_t>(tokenizer.vocab_size()); bit < words.size() * 32; ++bit)
      EXPECT_FALSE(has(words, static_cast<TokenId>(bit)));
  }
  EXPECT_TRUE(constraint.is_finished());
  EXPECT_TRUE(*constraint.is_accepting());
}

TEST_F(ConstraintTest, EndTokensFollowCompleteTexts) {
  Constraint constraint = start(Kind::regex, "ab*");
  EXPECT_FALSE(has(mask(constraint), kEnd));
  EXPECT_FALSE(*constraint.allows(kEnd));
  feed(constraint, "a");
  EXPECT_TRUE(*constraint.is_accepting());
  EXPECT_FALSE(constraint.is_finished());
  EXPECT_TRUE(has(mask(constraint), kEnd));
  EXPECT_TRUE(has(mask(constraint), kOtherEnd));
  EXPECT_TRUE(*constraint.allows(kOtherEnd));
  EXPECT_TRUE(has(mask(constraint), id("b")));
  EXPECT_FALSE(has(mask(constraint), id("c")));
  ASSERT_TRUE(constraint.consume(kEnd));
  EXPECT_TRUE(constraint.is_finished());
  for (const uint32_t word : mask(constraint)) EXPECT_EQ(word, 0u);
}

TEST_F(ConstraintTest, SpecialTokensAreNoText) {
  Constraint constraint = start(Kind::regex, "(?s:.*)");
  EXPECT_FALSE(has(mask(constraint), 2));
  EXPECT_TRUE(has(mask(constraint), static_cast<TokenId>(tokenizer.vocab_size() - 1))) << "spelled alike";
  EXPECT_FALSE(*constraint.allows(2));
}

TEST_F(ConstraintTest, PartsOfCharactersAreAllowedInOrder) {
  Constraint constraint = start(Kind::regex, "é+");
  const TokenId first = 3 + 0xc3;
  const TokenId second = 3 + 0xa9;
  EXPECT_TRUE(*constraint.allows(first));
  EXPECT_FALSE(*constraint.allows(second));
  ASSERT_TRUE(constraint.consume(first));
  EXPECT_FALSE(*constraint.is_accepting());
  EXPECT_TRUE(*constraint.allows(second));
  EXPECT_FALSE(*constraint.allows(3 + 0xaa));
}

TEST_F(ConstraintTest, ClonesAreIndependent) {
  Constraint one = start(Kind::regex, "a(b|c)d");
  feed(one, "a");
  Constraint two = std::move(*one.clone());
  feed(one, "bd");
  EXPECT_TRUE(one.is_finished());
  EXPECT_FALSE(two.is_finished());
  feed(two, "cd");
  EXPECT_TRUE(two.is_finished());
}

TEST_F(ConstraintTest, RollbackTakesTokensBack) {
  Constraint constraint = start(Kind::regex, "ab|cd");
  feed(constraint, "ab");
  EXPECT_TRUE(constraint.is_finished());
  ASSERT_TRUE(constraint.rollback(1));
  EXPECT_FALSE(constraint.is_finished());
  EXPECT_FALSE(*constraint.allows(id("d")));
  ASSERT_TRUE(constraint.rollback(1));
  feed(constraint, "cd");
  EXPECT_TRUE(constraint.is_finished());
  EXPECT_FALSE(constraint.rollback(3));
}

TEST_F(ConstraintTest, RefusedTokensAreErrors) {
  Constraint constraint = start(Kind::regex, "ab");
  EXPECT_FALSE(constraint.consume(id("b")));
}

TEST_F(ConstraintTest, Choice) {
  EXPECT_TRUE(accepts(Kind::choice, R"(["yes","no \"x\"\n","ja"])", "no \"x\"\n"));
  EXPECT_TRUE(accepts(Kind::choice, R"(["a","ab"])", "ab"));
  EXPECT_TRUE(accepts(Kind::choice, R"(["a","ab"])", "a"));
  EXPECT_FALSE(accepts(Kind::choice, R"(["yes","no"])", "ye"));
  EXPECT_FALSE(accepts(Kind::choice, R"(["yes","no"])", "maybe"));
}

TEST_F(ConstraintTest, WhitespaceOfJson) {
  const std::string schema = R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"null"}},
      "required":["a","b"],"additionalProperties":false})";
  EXPECT_TRUE(accepts(Kind::json_schema, schema, R"({"a":1,"b":null})"));
  EXPECT_TRUE(accepts(Kind::json_schema, schema, R"({"a": 1, "b": null})"));
  EXPECT_FALSE(accepts(Kind::json_schema, schema, R"({"a":  1,"b":null})"));
  EXPECT_FALSE(accepts(Kind::json_schema, schema, "{\n\"a\":1,\"b\":null}"));
  const auto with = [&](ConstraintSource source, std::string_view text) {
    source.text = schema;
    Constraint constraint = std::move(*(*factory.compile(source))->start());
    for (const TokenId token : encode(text))
      if (!constraint.consume(token)) return false;
    return *constraint.is_accepting();
  };
  EXPECT_FALSE(with({.whitespace = ConstraintSource::Whitespace::none}, R"({"a": 1,"b":null})"));
  EXPECT_TRUE(with({.whitespace = ConstraintSource::Whitespace::none}, R"({"a":1,"b":null})"));
  EXPECT_TRUE(with({.whitespace_pattern = "[ \\n]{1,4}"}, "{\n  \"a\":  1,\n\"b\":null}"));
}

TEST_F(ConstraintTest, LarkWithJsonBetweenLiterals) {
  const std::string grammar =
      "start: " + lark_literal("<call>\n") + " body " + lark_literal("\n</call>") +
      "\nbody: " + lark_json(R"({"type":"object","properties":{"name":{"const":"f"}},"required":["name"]})");
  EXPECT_TRUE(accepts(Kind::grammar, grammar, "<call>\n{\"name\": \"f\"}\n</call>"));
  EXPECT_TRUE(accepts(Kind::grammar, grammar, "<call>\n{\"name\": \"f\", \"x\": [1, {}]}\n</call>"));
  EXPECT_FALSE(accepts(Kind::grammar, grammar, "<call>\n{\"name\": \"g\"}\n</call>"));
  EXPECT_FALSE(accepts(Kind::grammar, grammar, "<call>\n{\"name\":   \"f\"}\n</call>"));
  EXPECT_FALSE(accepts(Kind::grammar, grammar, "<call>\n{\"name\": \"f\"}"));
}

TEST_F(ConstraintTest, ASchemaInLarkMayHoldTheSignOfGbnf) {
  const std::string grammar = "start: " + lark_json(R"({"const":"a ::= b"})");
  EXPECT_TRUE(accepts(Kind::grammar, grammar, R"("a ::= b")"));
  EXPECT_FALSE(accepts(Kind::grammar, grammar, R"("a")"));
}

TEST_F(ConstraintTest, Gbnf) {
  const std::string arithmetic = R"gbnf(
    # sums of products
    root  ::= expr "=" ws num "\n"
    expr  ::= term ([-+*/] ws term)*
    term  ::= num | "(" ws expr ")" ws
    num   ::= [0-9]{1,3} ws
    ws    ::= [ \t]*
  )gbnf";
  EXPECT_TRUE(accepts(Kind::grammar, arithmetic, "1+(22*3)=67\n"));
  EXPECT_TRUE(accepts(Kind::grammar, arithmetic, "1 + ( 2 - 3 ) = 0 \n"));
  EXPECT_FALSE(accepts(Kind::grammar, arithmetic, "1+=2\n"));
  EXPECT_FALSE(accepts(Kind::grammar, arithmetic, "1234=2\n"));
  EXPECT_TRUE(accepts(Kind::grammar, "root ::= [a-b] \"b\" | \"abc\"", "ab")) << "no longest match";
  EXPECT_TRUE(accepts(Kind::grammar, "root ::= \"\\u00e9\\x41\" [^\\]-]?", "éA!"));
  EXPECT_FALSE(accepts(Kind::grammar, "root ::= \"\\u00e9\\x41\" [^\\]-]?", "éA-"));
}

TEST_F(ConstraintTest, MalformedGrammarsAreNamed) {
  EXPECT_NE(refusal(Kind::grammar, "a ::= \"x\"").find("no rule 'root'"), std::string::npos);
  EXPECT_NE(refusal(Kind::grammar, "root ::= b").find("'b' is not defined"), std::string::npos);
  EXPECT_NE(refusal(Kind::grammar, "root ::= \"x\"\nroot ::= \"y\"").find("line 2"), std::string::npos);
  EXPECT_NE(refusal(Kind::grammar, "root ::= \"x").find("does not end"), std::string::npos);
  EXPECT_NE(refusal(Kind::grammar, "start: missing"), "compiled");
  EXPECT_NE(refusal(Kind::grammar, ""), "compiled");
  for (const char* endless : {"root ::= root", "start: start"})
    EXPECT_NE(refusal(Kind::grammar, endless).find("no text fits"), std::string::npos) << endless;
  EXPECT_NE(refusal(Kind::regex, "(a"), "compiled");
  EXPECT_NE(refusal(Kind::regex, "a(?=b)"), "compiled");
  EXPECT_NE(refusal(Kind::choice, "[]"), "compiled");
  EXPECT_NE(refusal(Kind::choice, "[\"\"]"), "compiled");
  EXPECT_NE(refusal(Kind::choice, "[1]"), "compiled");
}

TEST_F(ConstraintTest, UnsupportedKeywordsAreNamed) {
  const auto names = [&](std::string schema, std::string_view keyword) {
    const std::string message = refusal(Kind::json_schema, std::move(schema));
    EXPECT_NE(message.find(fmt::format("'{}'", keyword)), std::string::npos) << message;
  };
  names(R"({"not":{"type":"string"}})", "not");
  names(R"({"type":"array","uniqueItems":true})", "uniqueItems");
  names(R"({"properties":{"a":{"if":{},"then":{}}}})", "if");
  names(R"({"$defs":{"x":{"contains":{}}},"$ref":"#/$defs/x"})", "contains");
  EXPECT_NE(refusal(Kind::json_schema, R"({"type":"string","format":"no-such"})").find("no-such"),
            std::string::npos);
  EXPECT_NE(refusal(Kind::json_schema, R"({"$ref":"#"})").find("no text fits"), std::string::npos);
  EXPECT_EQ(refusal(Kind::json_schema, R"({"properties":{"not":{"type":"string"}}})"), "compiled");
  EXPECT_EQ(refusal(Kind::json_schema, R"({"type":"array","uniqueItems":false})"), "compiled");
}

TEST_F(ConstraintTest, ImpossibleSchemas) {
  EXPECT_NE(refusal(Kind::json_schema, "false"), "compiled");
  EXPECT_NE(refusal(Kind::json_schema, "3"), "compiled");
  EXPECT_NE(refusal(Kind::json_schema, "{"), "compiled");
  EXPECT_NE(refusal(Kind::json_schema, R"({"type":"colour"})"), "compiled");
  EXPECT_NE(refusal(Kind::json_schema, R"({"type":"integer","minimum":3,"maximum":2})"), "compiled");
  EXPECT_NE(refusal(Kind::json_schema, R"({"allOf":[{"type":"string"},{"type":"null"}]})"), "compiled");
  EXPECT_NE(refusal(Kind::json_schema, R"({"$ref":"#/$defs/none"})"), "compiled");
  EXPECT_NE(refusal(Kind::json_schema, R"({"$ref":"http://example.com/schema"})"), "compiled");
  EXPECT_NE(refusal(Kind::json_schema, R"({"$ref":"#"})"), "compiled");
}

TEST_F(ConstraintTest, OneOfAdmitsWhatAnyOfDoes) {
  const std::string schema = R"({"oneOf":[{"type":"integer"},{"type":"null"}]})";
  EXPECT_TRUE(accepts(Kind::json_schema, schema, "12"));
  EXPECT_TRUE(accepts(Kind::json_schema, schema, "null"));
  EXPECT_FALSE(accepts(Kind::json_schema, schema, "\"a\""));
  EXPECT_TRUE(accepts(Kind::json_schema, R"({"anyOf":[{"type":"integer"},{"type":"string"}],
      "oneOf":[{"type":"integer"},{"type":"null"}]})",
                      "12"));
  EXPECT_FALSE(accepts(Kind::json_schema, R"({"anyOf":[{"type":"integer"},{"type":"string"}],
      "oneOf":[{"type":"integer"},{"type":"null"}]})",
                       "null"));
}

TEST_F(ConstraintTest, RecursiveSchemas) {
  const std::string tree = R"({"$ref":"#/$defs/node","$defs":{"node":{"type":"object","properties":{
      "value":{"type":"integer"},"children":{"type":"array","items":{"$ref":"#/$defs/node"}}},
      "required":["value"],"additionalProperties":false}}})";
  EXPECT_TRUE(
      accepts(Kind::json_schema, tree, R"({"value":1,"children":[{"value":2},{"value":3,"children":[]}]})"));
  EXPECT_FALSE(accepts(Kind::json_schema, tree, R"({"value":1,"children":[{}]})"));
}

TEST_F(ConstraintTest, CompilerWaitsForItsFactory) {
  const ConstraintCompiler compiler(tokenizer, {kEnd});
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      const auto compiled = compiler.compile({.kind = Kind::regex, .text = "a+"});
      ASSERT_TRUE(compiled) << compiled.error().message;
      Constraint constraint = std::move(*(*compiled)->start());
      for (int token = 0; token < 20; ++token) feed(constraint, "a");
    });
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace pagoda::testing
