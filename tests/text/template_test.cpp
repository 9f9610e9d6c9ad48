// What the golden chats leave open: Python's ways, and templates that mean harm.
#include <gtest/gtest.h>

#include "text/chat_template.h"

namespace pagoda {
namespace {

constexpr std::string_view kContext =
    R"({"messages": [{"role": "user", "content": "hi"}], "s": "hello World", "n": 7, "big": 1e20, "tiny": 1.5e-7,
        "list": [1, "a", null, true, 2.0], "dict": {"items": {"x": 1}, "b": "é\u200b<&>\n"}, "none": null})";

Result<std::string> render(std::string_view source, std::string_view context = kContext) {
  PAGODA_TRY(const ChatTemplate compiled, ChatTemplate::compile(source));
  return compiled.render(context);
}

std::string rendered(std::string_view source) {
  const auto text = render(source);
  return text ? *text : "error: " + text.error().message;
}

void expect_refused(std::string_view source) {
  const auto text = render(source);
  ASSERT_FALSE(text) << source.substr(0, 200);
  EXPECT_EQ(text.error().code, ErrorCode::invalid_argument);
}

TEST(ChatTemplateTest, WritesValuesLikePython) {
  EXPECT_EQ(rendered("{{ none }} {{ true }} {{ 2.0 }} {{ big }} {{ tiny }}"), "None True 2.0 1e+20 1.5e-07");
  EXPECT_EQ(rendered("{{ list }}"), "[1, 'a', None, True, 2.0]");
  EXPECT_EQ(rendered("{{ dict }}"), "{'items': {'x': 1}, 'b': 'é\\u200b<&>\\n'}");
  EXPECT_EQ(rendered("{{ (1,) }} {{ {'a': \"it's\"} }}"), "(1,) {'a': \"it's\"}");
}

TEST(ChatTemplateTest, WritesJsonLikePython) {
  EXPECT_EQ(rendered("{{ list|tojson }}"), R"([1, "a", null, true, 2.0])");
  EXPECT_EQ(rendered("{{ dict|tojson }}"), "{\"items\": {\"x\": 1}, \"b\": \"é\u200b<&>\\n\"}");
  EXPECT_EQ(rendered("{{ dict.b|tojson(ensure_ascii=true) }}"), "\"\\u00e9\\u200b<&>\\n\"");
  EXPECT_EQ(rendered("{{ {'b': [], 'a': [1, {}]}|tojson(indent=2, sort_keys=true) }}"),
            "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": []\n}");
  EXPECT_EQ(rendered("{{ {'a': [1, 2]}|tojson(separators=(',', ':')) }}"), R"({"a":[1,2]})");
  EXPECT_EQ(rendered("{{ '😀'|tojson(true) }}"), R"("\ud83d\ude00")");
  expect_refused("{{ missing|tojson }}");
}

TEST(ChatTemplateTest, FormatsLikePython) {
  EXPECT_EQ(rendered("{{ '%02d|%s' % (n, s) }} {{ '%s' % s|upper }}!"), "07|hello World HELLO WORLD!");
  EXPECT_EQ(rendered("{{ 'a%%b' % () ~ '%}' }}"), "a%b%}");
  EXPECT_EQ(rendered("{{ n % 4 }}{% raw %}{{ 'a' % b }}{% endraw %}"), "3{{ 'a' % b }}");
  EXPECT_EQ(rendered("{{ '{}-{:>3}'.format(s, n) }}"), "hello World-  7");
}

TEST(ChatTemplateTest, HasPythonsStringMethods) {
  EXPECT_EQ(rendered("{{ s.removeprefix('hello ') }} {{ s.partition(' ') }}"),
            "World ('hello', ' ', 'World')");
  EXPECT_EQ(rendered("{{ ' a b '.rsplit(' ', 1) }} {{ ' a  b'.rsplit() }} {{ 'a b c'.rsplit(none, 1) }}"),
            "[' a b', ''] ['a', 'b'] ['a b', 'c']");
  EXPECT_EQ(rendered("{{ '-5'.zfill(4) }}|{{ 'ab'.center(5) }}|{{ 'a'.center(4) }}|{{ 'a'.ljust(3, '.') }}"),
            "-005|  ab | a  |a..");
  EXPECT_EQ(
      rendered("{% for k, v in dict['items'].items() %}{{ k }}{{ v }}{% endfor %}{{ dict.items()|length }}"),
      "x12");
}

TEST(ChatTemplateTest, UndefinedIsLenientButNotChained) {
  EXPECT_EQ(rendered("[{{ missing }}{{ dict.missing }}{{ missing|default('d') }}]"), "[d]");
  EXPECT_EQ(rendered("{{ tools is none }} {{ documents is none }} {{ none is iterable }}"),
            "True True False");
  expect_refused("{{ missing.field }}");
  expect_refused("{{ s + none }}");
}

TEST(ChatTemplateTest, AcceptsGenerationTags) {
  EXPECT_EQ(rendered("a{% generation %}b{%- endgeneration -%} c {{ 'generation' }}"), "abc generation");
}

TEST(ChatTemplateTest, ReasoningIsThinkingToo) {
  constexpr std::string_view kReasoning = R"({"messages": [{"reasoning_content": "why"},
                                                           {"reasoning_content": "a", "thinking": "b"}]})";
  const auto text = render("{% for m in messages %}{{ m.thinking }};{% endfor %}", kReasoning);
  ASSERT_TRUE(text) << text.error().message;
  EXPECT_EQ(*text, "why;b;");
}

TEST(ChatTemplateTest, KnowsTheTime) {
  EXPECT_TRUE(rendered("{{ strftime_now('%Y-%m-%d') }}").starts_with("20"));
  EXPECT_EQ(rendered("{{ strftime_now('') }}"), "");
}

TEST(ChatTemplateTest, TellsTheTemplatesOwnMessage) {
  const auto text = render("\n{{ raise_exception('Turns must alternate: ' ~ n) }}");
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().message, "Turns must alternate: 7");
}

TEST(ChatTemplateTest, ErrorsNameTheLine) {
  const auto syntax = ChatTemplate::compile("a\n\n{% if %}");
  ASSERT_FALSE(syntax);
  EXPECT_EQ(syntax.error().code, ErrorCode::invalid_argument);
  EXPECT_NE(syntax.error().message.find("line 3"), std::string::npos) << syntax.error().message;
  const auto run = render("a\n{{ s + 1 }}");
  ASSERT_FALSE(run);
  EXPECT_NE(run.error().message.find("line 2"), std::string::npos) << run.error().message;
}

TEST(ChatTemplateTest, RefusesBadContexts) {
  for (const std::string_view context : {"", "[]", "{", "{\"a\": \"\xff\"}", "{} {}"})
    EXPECT_FALSE(render("x", context)) << context;
  EXPECT_FALSE(render("x", std::string(100'000, '[')));
  EXPECT_FALSE(ChatTemplate::compile("\xff"));
}

TEST(ChatTemplateTest, BoundsWork) {
  expect_refused("{% for a in range(10000) %}{% for b in range(10000) %}x{% endfor %}{% endfor %}");
  expect_refused("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}");
  expect_refused("{{ 'a' * 1000000000000 }}");
  expect_refused("{{ '{:>1000000000}'.format(1) }}");
  expect_refused("{{ 'a'.zfill(9223372036854775807) }}");
  expect_refused("{{ range(10000)|tojson(separators=('a' * 100000, ':')) }}");
  const std::string doubling =
      "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}";
  expect_refused(doubling + "{{ ns.x }}");
  expect_refused(doubling + "{{ ns.x|tojson }}");
  expect_refused(doubling + "{{ ns.x|trim }}");
  expect_refused(doubling + "{{ raise_exception(ns.x) }}");
}

TEST(ChatTemplateTest, BoundsDepth) {
  constexpr std::string_view kNest =
      "{% set ns = namespace(x=[], y=[]) %}{% for i in range(40000) %}{% set ns.x = [ns.x] %}{% endfor %}";
  EXPECT_EQ(rendered(std::string(kNest) + "ok"), "ok");
  expect_refused(std::string(kNest) + "{{ ns.x|tojson }}");
  const std::string minuses = "{{ " + std::string(100'001, '-') + "1 }}";
  EXPECT_EQ(rendered(minuses), "-1");
  expect_refused("{{ " + std::string(100'000, '(') + " }}");
  expect_refused(std::string(1'000'000, 'a'));
}

}  // namespace
}  // namespace pagoda
