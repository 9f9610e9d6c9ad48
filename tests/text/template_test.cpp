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

TEST(ChatTemplateTest, SumsNumbers) {
  EXPECT_EQ(
      rendered("{{ [1, 2]|sum }} {{ [1, 0.5]|sum(start=1) }} {{ [{'a': 2}, {'a': 3}]|sum(attribute='a') }}"),
      "3 2.5 5");
  EXPECT_EQ(rendered("{{ []|sum }} {{ 'xyxax'.strip('xy') }} {{ 'xa'.lstrip('x') ~ 'ax'.rstrip('x') }} {{ "
                     "'aba'|trim('a') }}"),
            "0 a aa b");
  expect_refused("{{ [[1], [2]]|sum(start=[]) }}");
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

// What the guards replace still does what it did.
TEST(ChatTemplateTest, GuardedOperatorsKeepTheirMeaning) {
  EXPECT_EQ(rendered("{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 'a' in 'abc' in ['abc'] }} {{ 1 not in [2] }}"),
            "True False True True");
  EXPECT_EQ(
      rendered(
          "{{ 1 == 1.0 }} {{ [1] == [1.0] }} {{ 'b' > 'a' }} {{ 2 in list }} {{ 'x' in dict['items'] }}"),
      "True True True True True");
  EXPECT_EQ(rendered("{{ [3, 1]|sort(reverse=true) }} {{ ['b', 'A']|sort(case_sensitive=true) }}"),
            "[3, 1] ['A', 'b']");
  EXPECT_EQ(rendered("{% set args = [3] %}{{ range(*args)|list }} {{ namespace(**{'a': 1}) }}"),
            "[0, 1, 2] {'a': 1}");
  EXPECT_EQ(
      rendered(
          "{% macro m(a, b=2) %}{{ a }}{{ b }}{{ caller() }}{% endmacro %}{% call m(1) %}c{% endcall %}"),
      "12c");
  EXPECT_EQ(rendered("{% for n in [1, [2, [3]]] recursive %}{% if n is iterable %}{{ loop(n) }}{% else %}{{ "
                     "n }}{% endif %}{% endfor %}"),
            "123");
  EXPECT_EQ(rendered("{{ {'a': 1, 'b': [2]} }} {{ {1: 'x', none: 'y', (1, 2): 'z'}[(1, 2)] }}"),
            "{'a': 1, 'b': [2]} z");
  EXPECT_EQ(rendered("{{ list[1:3] + [0] }} {{ [0] * 3 }} {{ list[::-1][0] }} {{ 'n=' ~ n ~ [1] ~ 2.0 }}"),
            "['a', None, 0] [0, 0, 0] 2.0 n=7[1]2.0");
  EXPECT_EQ(
      rendered("{% for k, v in dict|items if k != 'b' %}{{ loop.index }}{{ k }}{% else %}none{% endfor %}"),
      "1items");
  const auto unknown = render("\n{{ s|nothing }}");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().message, "chat template, line 2: unknown filter: filter nothing is unknown");
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
