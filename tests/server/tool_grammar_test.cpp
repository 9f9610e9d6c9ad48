// Grammars of free answers whose calls must fit: what each format takes, with markers as text and as special
// tokens.
#include <gtest/gtest.h>

#include "server/output/call_ids.h"
#include "server/output/tool_call_parser.h"
#include "support/fake_tokenizer.h"
#include "text/constraint.h"

namespace pagoda::testing {
namespace {

constexpr TokenId kEnd = 0;

const std::vector<CallableFunction> kFunctions = {
    {"weather", R"({"type":"object","properties":{"unit":{"$ref":"#/$defs/u"}},"required":["unit"],)"
                R"("additionalProperties":false,"$defs":{"u":{"enum":["C","F"]}}})"},
    {"any", R"({"type":"object"})"}};

enum class Markers { text, special };

class ToolGrammarTest : public ::testing::TestWithParam<Markers> {
 protected:
  ToolGrammarTest() : tokenizer_(make_tokenizer()) {}

  static FakeTokenizer make_tokenizer() {
    std::vector<std::string> texts = {"<|end|>"};
    std::vector<TokenId> specials = {kEnd};
    for (const ToolCallFormat* format : tool_call_formats()) {
      for (const std::string_view marker : format->markers) {
        if (GetParam() == Markers::special) specials.push_back(static_cast<TokenId>(texts.size()));
        texts.emplace_back(marker);
      }
    }
    for (int byte = 0; byte < 256; ++byte) texts.emplace_back(1, static_cast<char>(byte));
    return FakeTokenizer(std::move(texts), std::move(specials), -1, kEnd);
  }

  Constraint compile(const ToolCallFormat& format, NumCalls num_calls,
                     std::string_view not_first = {}) const {
    const MarkerSymbol symbol = [&](std::string_view marker) {
      const TokenId id = tokenizer_.find_token(marker);
      return id >= 0 && tokenizer_.is_special(id) ? fmt::format("<[{}]>", id) : lark_literal(marker);
    };
    const auto compiled = factory_.compile(
        {.kind = ConstraintSource::Kind::grammar,
         .text = "start: answer\n" + format.free_grammar(kFunctions, num_calls, symbol, not_first)});
    EXPECT_TRUE(compiled) << compiled.error().message;
    return std::move(*(*compiled)->start());
  }
  // Whether the text may be the whole answer.
  bool takes(const ToolCallFormat& format, std::string_view text, NumCalls num_calls = NumCalls::several,
             std::string_view not_first = {}) const {
    Constraint constraint = compile(format, num_calls, not_first);
    const Result<std::vector<TokenId>> tokens = tokenizer_.encode(text, Specials::parse);
    for (const TokenId token : *tokens) {
      if (constraint.is_finished() || !*constraint.allows(token)) return false;
      if (!constraint.consume(token)) return false;
    }
    return *constraint.is_accepting();
  }

  const FakeTokenizer tokenizer_;
  const ConstraintFactory factory_ = std::move(*ConstraintFactory::create(tokenizer_, std::vector{kEnd}));
};

TEST_P(ToolGrammarTest, TextWithoutCallsIsFree) {
  for (const ToolCallFormat* format : {&kHermesCalls, &kLlamaCalls, &kMistralCalls})
    for (const char* text : {"", "Hello.", "a < b <tool", "{\"a\": 1}", "[1, 2]", "```json\n{\"x\": {}}\n```",
                             "\n\nü\x01 [TOOL"})
      EXPECT_TRUE(takes(*format, text)) << format->name << ": " << text;
}

TEST_P(ToolGrammarTest, HermesCallsFit) {
  const auto call = [](std::string_view json) { return fmt::format("<tool_call>\n{}\n</tool_call>", json); };
  const std::string good = call(R"({"name": "weather", "arguments": {"unit": "C"}})");
  const std::string other = call(R"({"name": "any", "arguments": {"x": [1, "y"]}})");
  EXPECT_TRUE(takes(kHermesCalls, good));
  EXPECT_TRUE(takes(kHermesCalls, "Let me see. " + good + "\n" + other + " Done."));
  EXPECT_TRUE(takes(kHermesCalls, R"({"name": "weather", "arguments": {"unit": "F"}})")) << "bare";
  for (const char* bad : {R"({"name": "weather", "arguments": {"unit": "K"}})", R"({"name": "weather"})",
                          R"({"name": "none", "arguments": {}})", "text"}) {
    EXPECT_FALSE(takes(kHermesCalls, call(bad))) << bad;
    EXPECT_FALSE(takes(kHermesCalls, "First. " + call(bad))) << bad;
    EXPECT_FALSE(takes(kHermesCalls, good + call(bad))) << bad;
  }
  for (const char* bare : {R"({"name": "weather", "arguments": {"unit": "K"}})",
                           R"( {"arguments": {"unit": "K"}, "name": "weather"})",
                           "```json\n{\"name\": \"weather\", \"arguments\": {}}\n```"})
    EXPECT_FALSE(takes(kHermesCalls, bare)) << "the parser would take it: " << bare;
  EXPECT_TRUE(takes(kHermesCalls, R"(So: {"name": "weather", "arguments": {}})")) << "no call to the parser";
  EXPECT_TRUE(takes(kHermesCalls, good + " Done.", NumCalls::one));
  EXPECT_FALSE(takes(kHermesCalls, good + good, NumCalls::one));
}

TEST_P(ToolGrammarTest, LlamaCallsFit) {
  const std::string good = R"({"name": "weather", "parameters": {"unit": "C"}})";
  const std::string bad = R"({"name": "weather", "parameters": {"unit": "K"}})";
  for (const std::string lead : {"", "<|python_tag|>", "Hm. <|python_tag|>"}) {
    EXPECT_TRUE(takes(kLlamaCalls, lead + good)) << lead;
    EXPECT_TRUE(takes(kLlamaCalls, lead + good + "; " + good)) << lead;
    EXPECT_FALSE(takes(kLlamaCalls, lead + bad)) << lead;
    EXPECT_FALSE(takes(kLlamaCalls, lead + good + "; " + bad)) << lead;
    EXPECT_FALSE(takes(kLlamaCalls, lead + good + bad)) << lead;
    EXPECT_FALSE(takes(kLlamaCalls, lead + good + "; " + good, NumCalls::one)) << lead;
  }
}

TEST_P(ToolGrammarTest, MistralCallsFit) {
  const std::string list = R"([TOOL_CALLS][{"name": "weather", "arguments": {"unit": "C"}})";
  EXPECT_TRUE(takes(kMistralCalls, list + "]"));
  EXPECT_TRUE(takes(kMistralCalls, "Hm. " + list + R"(, {"name": "any", "arguments": {}}] Done.)"));
  EXPECT_TRUE(takes(kMistralCalls, R"([TOOL_CALLS]weather[ARGS]{"unit": "F"}[TOOL_CALLS]any{"x": 1})"));
  EXPECT_FALSE(takes(kMistralCalls, R"([TOOL_CALLS]weather[ARGS]{"unit": "K"})"));
  EXPECT_FALSE(takes(kMistralCalls, R"([TOOL_CALLS]none[ARGS]{})"));
  EXPECT_FALSE(takes(kMistralCalls, R"([TOOL_CALLS][{"name": "weather", "arguments": {}}])"));
  EXPECT_FALSE(takes(kMistralCalls, "[TOOL_CALLS] text"));
}

TEST_P(ToolGrammarTest, TheTextDoesNotBeginAsTold) {
  EXPECT_FALSE(takes(kHermesCalls, " <think>a", NumCalls::several, "\\s*<think>"));
  EXPECT_TRUE(takes(kHermesCalls, "a <think>", NumCalls::several, "\\s*<think>"));
}

INSTANTIATE_TEST_SUITE_P(Markers, ToolGrammarTest, ::testing::Values(Markers::text, Markers::special),
                         [](const auto& of) { return of.param == Markers::text ? "Text" : "Special"; });

TEST(CallIds, MistralsHaveNineLettersAndDigits) {
  EXPECT_EQ(detect_call_id_style("{% if tool_call.id|length != 9 %}"), CallIdStyle::nine_letters);
  EXPECT_EQ(detect_call_id_style("{% if tool_call.id|length < 9 %}"), CallIdStyle::nine_letters);
  EXPECT_EQ(detect_call_id_style("{{ message.tool_call_id }}"), CallIdStyle::any);
  const CallIds plain{.prefix = "call_1_"};
  EXPECT_EQ(plain.at(3), "call_1_3");
  const CallIds ids{.prefix = "call_1_", .style = CallIdStyle::nine_letters};
  const std::string first = ids.at(0);
  EXPECT_EQ(first.size(), 9u);
  EXPECT_TRUE(std::ranges::all_of(first, [](unsigned char c) { return std::isalnum(c) != 0; })) << first;
  EXPECT_NE(first, ids.at(1));
  EXPECT_EQ(first, ids.at(0));
  EXPECT_EQ(styled_call_id(first, CallIdStyle::nine_letters), first) << "comes back as it is";
  EXPECT_EQ(styled_call_id("call_1_0", CallIdStyle::nine_letters), first) << "the same for the same";
  EXPECT_EQ(styled_call_id("abc-efghi", CallIdStyle::nine_letters).find('-'), std::string::npos);
}

}  // namespace
}  // namespace pagoda::testing
