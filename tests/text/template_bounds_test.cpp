// Chat templates from hostile files: each ends soon, with a text or with an error.
#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "text/chat_template.h"

namespace pagoda {
namespace {

Result<std::string> render(std::string_view source) {
  PAGODA_TRY(const ChatTemplate compiled, ChatTemplate::compile(source));
  return compiled.render("{}");
}

std::string rendered(std::string_view source) {
  const auto text = render(source);
  return text ? *text : "error: " + text.error().message;
}

// Values that share their parts look small and are huge.
constexpr std::string_view kDoubled =
    "{% set ns = namespace(x=[1], y=[1], m={'a': 1}, s='ab') %}"
    "{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}"
    "{% set ns.m = {'a': ns.m, 'b': ns.m} %}{% endfor %}";

constexpr const char* kWalks[] = {
    "{{ ns.x == ns.y }}",
    "{{ ns.x != ns.y }}",
    "{{ ns.x < ns.y }}",
    "{{ ns.x >= ns.y }}",
    "{{ ns.x <= ns.y <= ns.x }}",
    "{{ ns.x in [ns.y] }}",
    "{{ ns.x not in [1, ns.y] }}",
    "{{ ns.y == ns.x == ns.y }}",
    "{{ ns.x is eq(ns.y) }}",
    "{{ ns.x is in([ns.y]) }}",
    "{{ [ns.x]|select('==', ns.y)|list }}",
    "{{ [ns.x, ns.y]|sort }}",
    "{{ [ns.x, ns.y]|unique|list }}",
    "{{ [ns.x, ns.y]|max }}",
    "{{ [[ns.x], [ns.y]]|groupby(0) }}",
    "{{ [{'k': ns.x}, {'k': ns.y}]|map(attribute='k')|sort }}",
    "{{ ns.x|join }}",
    "{{ ns.x|join(', ') }}",
    "{{ ', '.join([ns.x]) }}",
    "{{ ns.x ~ '' }}",
    "{{ '' ~ [ns.x] }}",
    "{{ ns.x|upper }}",
    "{{ ns.x|replace('1', '2') }}",
    "{{ '%s'|format(ns.x) }}",
    "{{ '%s' % ns.x }}",
    "{{ '{}'.format(ns.x) }}",
    "{{ ns.x|pprint }}",
    "{{ ns.m }}",
    "{{ ns.m|tojson }}",
    "{{ ns.m|dictsort(by='value') }}",
    "{{ ns.m == {'a': ns.m.a, 'b': {'a': ns.m.b.b, 'b': ns.m.b.b}} }}",
    "{{ {ns.x: 1} }}",
    "{{ {(ns.x,): 1} }}",
    "{{ {}[ns.x] }}",
    "{{ {}[(ns.x, 1)] }}",
    "{{ {}.get((ns.x, 1)) }}",
    "{{ [ns.x].count([ns.y]) }}",
    "{{ ns.x is startingwith('a') }}",
    "{{ (ns.x + ns.y)|string }}",
    "{{ ns.x * 3 ~ 1 }}",
    "{{ ns.x[::-1] ~ 1 }}",
    "{{ ns.x|reverse|string }}",
    "{{ ns.x|batch(2)|list }}",
    "{{ [ns.x]|map('join')|list }}",
    "{{ [ns.x]|map('string')|list }}",
    "{{ ns.x|escape }}",
    "{{ ns.x|indent }}",
    "{{ ns.x|default('a') ~ '' }}",
    "{% filter upper %}{{ ns.x }}{% endfilter %}",
    "{% for c in ns.x ~ '' %}{% endfor %}",
    "{{ debug() }}",
};

class SharedPartsTest : public ::testing::TestWithParam<const char*> {};

TEST_P(SharedPartsTest, AreNotWalkedForEver) {
  const auto text = render(std::string(kDoubled) + GetParam());
  EXPECT_FALSE(text) << GetParam();
}

INSTANTIATE_TEST_SUITE_P(Walks, SharedPartsTest, ::testing::ValuesIn(kWalks));

TEST(TemplateBoundsTest, WhatLooksAtTheOutsideIsFree) {
  EXPECT_EQ(rendered(std::string(kDoubled) + "{{ ns.x|length }} {{ ns.m.get('c') }} {{ ns.x is defined }}"),
            "2 None True");
  EXPECT_EQ(
      rendered(std::string(kDoubled) +
               "{{ ns.x == 1 }} {{ 'a' == ns.x }} {{ ns.x is none }} {{ not ns.x }} {{ ns.m.a is mapping }}"),
      "False False False False True");
}

std::string repeated(const std::string& set, const std::string& step) {
  return "{% set ns = namespace(" + set + ") %}{% for i in range(100000) %}" + step + "{% endfor %}";
}

// Growing texts and lists, small steps on large values, and arguments that ask for much.
std::vector<std::string> greedy_templates() {
  const std::string text = "x='a' * 4000000, y='a' * 3999999 ~ 'b'";
  std::string dict = "x={";
  for (int i = 0; i < 5000; ++i) dict += fmt::format("'k{}': {}, ", i, i);
  dict += "}, y={" + dict.substr(3) + "}";
  const std::string list = "x=range(10000)|list, y=range(10000)|list";
  return {
      repeated("x=[1]", "{% set ns.x = ns.x + ns.x %}"),
      repeated("x=(1,)", "{% set ns.x = ns.x + ns.x %}"),
      repeated("x='a'", "{% set ns.x = ns.x + ns.x %}"),
      repeated("x='a'", "{% set ns.x = ns.x ~ ns.x %}"),
      repeated("x='a'", "{% set ns.x = ns.x * 10 %}"),
      repeated("x=[1]", "{% set ns.x = ns.x * 10 %}"),
      repeated("x=[1]", "{% set ns.x = (ns.x * 10)|list %}"),
      repeated("x='a'", "{% set ns.x = ns.x|replace('a', 'aa') %}"),
      repeated("x='a'", "{% set ns.x = ns.x.replace('a', ns.x * 2) %}"),
      repeated("x='aa'", "{% set ns.x = ns.x|list|join(ns.x) %}"),
      repeated("x='a'", "{% set ns.x %}{{ ns.x }}{{ ns.x }}{% endset %}"),
      repeated("x='a'", "{% set ns.x = '%s%s'|format(ns.x, ns.x) %}"),
      repeated("x='a\\na'", "{% set ns.x = ns.x|indent(1000) %}"),
      repeated(text, "{{ ns.x == ns.y }}"),
      repeated(text, "{{ ns.x < ns.y }}"),
      repeated(text, "{% for c in ns.x %}{% break %}{% endfor %}"),
      repeated(text, "{{ {}[ns.x] }}"),
      repeated(text, "{{ {}.get(ns.x) }}"),
      repeated(text, "{{ ns.x is lower }}"),
      repeated(text, "{{ ns.x is startingwith('b') }}"),
      repeated(text, "{{ 'b' in ns.x }}"),
      repeated(text, "{{ ns.x.find('b') }}"),
      repeated(text, "{{ ns.x|int(0) }}"),
      repeated(text, "{{ ns.x.split('b')|length }}"),
      repeated(text, "{{ ns.x|length }}"),
      repeated(text, "{{ (ns.x|first)|length }}"),
      repeated(text, "{{ ns.x[0] }}"),
      repeated(text, "{{ ns.x[-1] }}"),
      repeated(text, "{{ ns.x[3999999] }}"),
      repeated(text, "{{ ns.x[:1] }}"),
      repeated(text, "{{ ns.x[-1:] }}"),
      repeated("x='é' * 2000000", "{{ ns.x[5:-1999990] }}"),
      repeated(text,
               "{% for c in [1] recursive %}{% if c == 1 %}{{ loop(ns.x) }}{% else %}{% break %}{% endif "
               "%}{% endfor %}"),
      repeated(list, "{{ ns.x == ns.y }}"),
      repeated(list, "{{ 'a' in ns.x }}"),
      repeated(list, "{{ ns.x.count(1) }}"),
      repeated(list, "{{ ns.x|max }}"),
      repeated(list, "{{ ns.x|reverse|first }}"),
      repeated(list, "{% set a = namespace(*ns.x) %}"),
      repeated(dict, "{% set a = namespace(**ns.x) %}"),
      repeated(dict, "{% set a = namespace(ns.x) %}"),
      repeated(dict, "{% set a = dict(ns.x) %}"),
      repeated(dict, "{% set a = dict(ns.x, a=1) %}"),
      repeated(dict, "{% set a = namespace(ns.x, a=1) %}"),
      repeated(dict, "{% for k in ns.x %}{% break %}{% endfor %}"),
      repeated(dict, "{% for k, v in ns.x.items() %}{% break %}{% endfor %}"),
      repeated(dict, "{{ ns.x|items|first }}"),
      repeated(dict, "{{ ns.x|list|first }}"),
      repeated(dict, "{{ ns.x.keys()|first }}"),
      repeated(dict, "{{ ns.x == ns.y }}"),
      repeated("x=namespace(**{'a': 1, 'b': 2})", "{% set ns.x = dict(a=ns.x, **ns.x) %}{{ ns.x }}"),
      "{{ 'a' * 30000000 }}{{ ('a' * 30000000).split('') }}",
      "{{ ('a,' * 15000000).split(',')|length }}",
      "{{ '%.1000000000f'|format(1.0) }}",
      "{{ '%*d'|format(1000000000, 1) }}",
      "{{ '%1000000000d'|format(1) }}",
      "{{ 'a'.center(1000000000) }}",
      "{{ [1]|batch(1000000000, 'x')|list }}",
      "{{ [1]|slice(1000000000)|list }}",
      "{{ 2 ** 1000000000 }}",
      "{{ 'a'|indent(1000000000, true) }}",
      "{{ range(100000)|map('string')|join('x' * 100000) }}",
      "{{ range(3000)|list|select('in', range(3000)|list)|list|select('in', range(3000)|list)|list }}",
      "{{ ([range(10000)|list] * 10000)|map('map', 'default', 1)|list }}",
      "{{ ['a' * 1000000]|map('replace', 'a', 'b' * 1000000)|list }}",
      "{{ ('a' * 1000000).replace('a', 'b' * 1000000) }}",
      "{{ ('a' * 1000000)|replace('a', 'b' * 1000000) }}",
      "{{ ('x' * 4000000).join(range(10000)|map('string')|list) }}",
      "{{ ('{0}' * 100000).format('x' * 4000000) }}",
      "{{ ('{:>9999}' * 1000000).format('x') }}{{ '{:{}}'.format(1, 1000000000) }}",
      "{{ '{:{}}'.format(1, 1000000000) }}",
      "{{ '{:>{w}}'.format(1, w=1000000000) }}",
      "{{ '{:.{w}f}'.format(1.5, w=1000000000) }}",
      "{{ '{:0>{w}}'.format(1, w=1000000000) }}",
      "{{ ('%(a)s' * 100000)|format(a='x' * 4000000) }}",
      "{{ ('%s' * 10000)|format(*(['x' * 4000000] * 10000)) }}",
      "{{ ['%(a)s' * 100000]|map('format', a='x' * 4000000)|list }}",
      "{{ ['%s' * 100000]|map('format', *(['x' * 4000000] * 100000))|list }}",
      "{{ (['x' * 1000000] * 10000)|sum(start='') }}",
      "{{ ([[1]] * 100000)|sum(start=[])|length }}{{ ([[1, 2]] * 100000)|sum(start=[])|length }}",
      "{{ (['x' * 4000000] * 10000)|join }}",
      "{{ ('a' * 4000000)|trim('b' * 4000000 ~ 'a') }}",
      "{{ ('a' * 4000000).strip('b' * 4000000 ~ 'a') }}",
      "{{ ('a' * 4000000).lstrip('b' * 4000000 ~ 'a') }}{{ ('a' * 4000000).rstrip('b' * 4000000 ~ 'a') }}",
      "{{ ('a' * 4000000).rsplit('a')|length }}{{ ('a' * 4000000).rsplit()|length }}",
      "{{ ('a' * 4000000)|truncate(3999990, end='b' * 4000000) }}{{ ('a ' * 2000000)|wordcount }}",
      "{{ range(100000)|list|tojson(indent=64, separators=('a' * 1000, ':')) }}",
      "{{ ('a' * 4000000).startswith(('b' * 3999999, ) * 100000) }}",
      "{{ range(100000)|map(attribute='a.' * 1000000)|list }}",
      "{{ range(100000)|sort(attribute='a.' * 1000000) }}",
  };
}

TEST(TemplateBoundsTest, RefusesGreed) {
  for (const std::string& source : greedy_templates()) {
    SCOPED_TRACE(source.substr(source.size() - std::min<size_t>(source.size(), 120)));
    EXPECT_FALSE(render(source));
  }
}

// A view of a view of a view … costs no more than a list.
TEST(TemplateBoundsTest, ViewsDoNotPileUp) {
  for (const char* step :
       {"{% set ns.x = ns.x[0:] %}", "{% set ns.x = ns.x * 1 %}", "{% set ns.x = ns.x|reverse|reverse %}",
        "{% set ns.x = ns.x[::-1][::-1] %}", "{% set ns.x = [] + ns.x %}", "{% set ns.x = ns.x|list %}"})
    EXPECT_EQ(rendered("{% set ns = namespace(x=[1, 2]) %}{% for i in range(10000) %}" + std::string(step) +
                       "{% endfor %}{{ ns.x }}"),
              "[1, 2]")
        << step;
}

// LeakSanitizer sees what a namespace that holds itself keeps.
TEST(TemplateBoundsTest, NamespacesMayHoldThemselves) {
  EXPECT_EQ(rendered("{% macro m() %}{% set a = namespace(b=[{'c': 'x' * 1000}]) %}{% set a.b = [a.b, a] %}"
                     "{{ a.b[0][0].c|length }}{% endmacro %}{{ m() }}{{ m() }}"),
            "10001000");
  for (const char* use : {"{{ ns }}", "{{ ns|tojson }}", "{{ ns == other }}", "{{ ns ~ '' }}",
                          "{{ [ns]|join }}", "{{ [ns, other]|sort }}"}) {
    const auto text = render(
        "{% set ns = namespace() %}{% set other = namespace() %}{% set ns.a = ns %}{% set ns.b = ns %}"
        "{% set other.a = other %}{% set other.b = other %}" +
        std::string(use));
    EXPECT_FALSE(text) << use;
  }
}

}  // namespace
}  // namespace pagoda
