// Parsers of what models write: golden deltas, cut at every place, and hostile text.
#include <array>
#include <random>

#include <gtest/gtest.h>

#include "server/output/output_parser.h"
#include "server/output/python_literal.h"

namespace pagoda {

void PrintTo(const OutputDelta& delta, std::ostream* out) {
  constexpr std::array kNames = {"content", "reasoning", "call", "arguments"};
  *out << kNames[static_cast<size_t>(delta.kind)] << "(" << delta.text << ")";
}

namespace {

using Tell = ToolCallParserOptions::Tell;

const std::vector<std::string> kFunctions = {"get_weather", "add"};

OutputDelta content(std::string text) {
  return {OutputDelta::Kind::content, std::move(text)};
}
OutputDelta reasoning(std::string text) {
  return {OutputDelta::Kind::reasoning, std::move(text)};
}
OutputDelta call(std::string name) {
  return {OutputDelta::Kind::call, std::move(name)};
}
OutputDelta arguments(std::string text) {
  return {OutputDelta::Kind::arguments, std::move(text)};
}

OutputPlan plan_of(const ToolCallFormat* tool_calls, const ReasoningFormat* thinking = nullptr) {
  return {.reasoning = thinking, .tool_calls = tool_calls, .functions = kFunctions};
}

OutputDeltas joined(const OutputDeltas& deltas) {
  OutputDeltas result;
  for (const OutputDelta& delta : deltas) append(result, delta.kind, delta.text);
  return result;
}

OutputDeltas parse(const OutputPlan& plan, const std::vector<std::string_view>& pieces, Tell tell) {
  OutputParser parser(plan, tell);
  OutputDeltas all;
  for (const std::string_view piece : pieces) {
    OutputDeltas deltas;
    parser.push(piece, deltas);
    all.insert(all.end(), deltas.begin(), deltas.end());
  }
  OutputDeltas deltas;
  parser.finish(deltas);
  all.insert(all.end(), deltas.begin(), deltas.end());
  return joined(all);
}

// The same whether whole, cut in two anywhere, or byte by byte.
void expect_parse(const OutputPlan& plan, std::string_view text, const OutputDeltas& expected,
                  Tell tell = Tell::at_once) {
  EXPECT_EQ(parse(plan, {text}, tell), expected) << text;
  for (size_t cut = 1; cut < text.size(); ++cut)
    EXPECT_EQ(parse(plan, {text.substr(0, cut), text.substr(cut)}, tell), expected) << text << " at " << cut;
  std::vector<std::string_view> bytes;
  for (size_t i = 0; i < text.size(); ++i) bytes.push_back(text.substr(i, 1));
  EXPECT_EQ(parse(plan, bytes, tell), expected) << text;
}

void expect_both(const ToolCallFormat& format, std::string_view text, const OutputDeltas& expected) {
  expect_parse(plan_of(&format), text, expected, Tell::at_once);
  expect_parse(plan_of(&format), text, expected, Tell::when_complete);
}

TEST(HermesCallsTest, Calls) {
  expect_both(
      kHermesCalls,
      "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Köln\", \"n\": [1, -2.5e3, "
      "true, null]}}\n</tool_call>",
      {call("get_weather"), arguments(R"({"city": "Köln", "n": [1, -2.5e3, true, null]})")});
  expect_both(
      kHermesCalls,
      "Let me look. \n<tool_call>{\"name\":\"a\",\"arguments\":{}}</tool_call>\n<tool_call>\n{\"arguments\": "
      "{\"x\": {\"y\": \"}\"}}, \"name\": \"b\"}\n</tool_call>\n",
      {content("Let me look."), call("a"), arguments("{}"), call("b"), arguments(R"({"x": {"y": "}"}})")});
  expect_both(kHermesCalls, R"(<tool_call>{"name": "a"}</tool_call> Done. )",
              {call("a"), arguments("{}"), content("Done. ")});
}

TEST(HermesCallsTest, SlipsOfSmallModelsAreForgiven) {
  expect_both(kHermesCalls,
              "<tool_call>{\"name\": \"a\", \"arguments\": {\"text\": \"two\nlines\"}}</tool_call>",
              {call("a"), arguments(R"({"text": "two\nlines"})")});
  expect_both(kHermesCalls, R"(<tool_call>{"name": "a", "arguments": "{\"x\": 1}"}</tool_call>)",
              {call("a"), arguments(R"({"x": 1})")});
  expect_both(kHermesCalls, R"(<tool_call>{"name": "a", "arguments": null}</tool_call>)",
              {call("a"), arguments("{}")});
  expect_both(kHermesCalls, "<tool_call>\n{\"name\": \"a\"}\n{\"name\": \"b\"}\n</tool_call>",
              {call("a"), arguments("{}"), call("b"), arguments("{}")});
  expect_both(kHermesCalls, R"(<tool_call>{"name": "a"}<tool_call>{"name": "b"}</tool_call>)",
              {call("a"), arguments("{}"), call("b"), arguments("{}")});
  expect_both(kHermesCalls, R"({"name": "add", "arguments": {"a": 1}})",
              {call("add"), arguments(R"({"a": 1})")});
  expect_both(kHermesCalls, "```json\n{\n  \"name\": \"add\",\n  \"arguments\": {\"a\": 1}\n}\n```\nDone.",
              {call("add"), arguments(R"({"a": 1})"), content("Done.")});
}

TEST(HermesCallsTest, WhatIsNoCallIsContent) {
  for (const char* text : {"",
                           "plain",
                           "  spaces stay  ",
                           "a < b",
                           "<tool_cal",
                           "<tool_call>",
                           "<tool_call> what?</tool_call>",
                           "<tool_call>[1]</tool_call>",
                           R"(<tool_call>{"arguments": {}}</tool_call>)",
                           R"(<tool_call>{"name": "", "arguments": {}}</tool_call>)",
                           R"(<tool_call>{"name": 1}</tool_call>)",
                           R"(<tool_call>{"name": "a", "arguments": [1]}</tool_call>)",
                           R"(<tool_call>{"name": "a", "arguments": "x"}</tool_call>)",
                           R"(<tool_call>{"name": "a", "name": "b"}</tool_call>)",
                           R"(<tool_call>{"name": "a")",
                           "```json\n{\"a\": 1}\n```",
                           "```py\n1\n```",
                           "``",
                           "`x` {",
                           R"({"name": "Ada", "arguments": {}})",
                           R"({"city": "Rome"})",
                           "</tool_call>",
                           "\n"}) {
    const OutputDeltas expected = *text ? OutputDeltas{content(text)} : OutputDeltas{};
    expect_both(kHermesCalls, text, expected);
  }
  expect_both(kHermesCalls, R"(<tool_call><tool_call>{"name": "a"}</tool_call>)",
              {content("<tool_call>"), call("a"), arguments("{}")});
}

TEST(HermesCallsTest, ACallThatBreaksOffIsCutShortInAStreamAndContentOtherwise) {
  const std::string truncated = R"(Hm. <tool_call>{"name": "a", "arguments": {"x": "lon)";
  expect_parse(plan_of(&kHermesCalls), truncated, {content("Hm."), call("a"), arguments(R"({"x": "lon)")});
  expect_parse(plan_of(&kHermesCalls), truncated, {content(truncated)}, Tell::when_complete);
  const std::string broken = R"(<tool_call>{"name": "a", "arguments": {"x": oh}}</tool_call>)";
  expect_parse(plan_of(&kHermesCalls), broken,
               {call("a"), arguments(R"({"x": )"), content("oh}}</tool_call>")});
  expect_parse(plan_of(&kHermesCalls), broken, {content(broken)}, Tell::when_complete);
}

TEST(LlamaCallsTest, Calls) {
  expect_both(kLlamaCalls, R"({"name": "get_weather", "parameters": {"city": "Rome"}})",
              {call("get_weather"), arguments(R"({"city": "Rome"})")});
  expect_both(kLlamaCalls, R"(<|python_tag|>{"type": "function", "name": "anything", "parameters": {}})",
              {call("anything"), arguments("{}")});
  expect_both(kLlamaCalls,
              R"({"name": "add", "parameters": {"a": 1}}; {"name": "add", "parameters": {"a": 2}})",
              {call("add"), arguments(R"({"a": 1})"), call("add"), arguments(R"({"a": 2})")});
  for (const char* text : {R"({"name": "Ada", "age": 36})", R"({"answer": 42})", R"({"name": "add", "x": 1})",
                           "<|python_tag|>print(1)", R"(Use {"name": "add", "parameters": {}} to add.)"})
    expect_both(kLlamaCalls, text, {content(text)});
}

TEST(MistralCallsTest, Calls) {
  expect_both(
      kMistralCalls,
      R"([TOOL_CALLS] [{"name": "a", "arguments": {"x": 1}, "id": "123456789"}, {"name": "b", "arguments": {}}])",
      {call("a"), arguments(R"({"x": 1})"), call("b"), arguments("{}")});
  expect_both(kMistralCalls, R"(So: [TOOL_CALLS]get_weather[ARGS]{"city": "Rome"}[TOOL_CALLS]add{"a": 1})",
              {content("So:"), call("get_weather"), arguments(R"({"city": "Rome"})"), call("add"),
               arguments(R"({"a": 1})")});
  for (const char* text : {"[TOOL_CALLS]", "[TOOL_CALLS] [", "[TOOL_CALLS]name", "[TOOL_CALLS]name[ARGS]",
                           "[TOOL_CALLS]name[ARGS][1]", "[TOOL_CALLS]a b{}", "[TOOL]", "[1, 2]",
                           R"([TOOL_CALLS] [{"name": "a")"})
    expect_both(kMistralCalls, text, {content(text)});
}

TEST(PythonicCallsTest, Calls) {
  expect_both(
      kPythonicCalls, R"X([get_weather(city="San (Francisco)", days=[1, 2.5], metric=True), add()])X",
      {call("get_weather"), arguments(R"X({"city": "San (Francisco)", "days": [1, 2.5], "metric": true})X"),
       call("add"), arguments("{}")});
  expect_both(kPythonicCalls, "<|python_start|>[add(a='it\\'s', b={'k': None, 'l': (1, -2)})]<|python_end|>",
              {call("add"), arguments(R"({"a": "it's", "b": {"k": null, "l": [1, -2]}})")});
  for (const char* text : {"[1, 2]", "[unknown(a=1)]", "[add(1, 2)]", "[add(a=b)]", "[add(a=1",
                           "plain [add()]", "[]", "<b>", "[add(a=1])]", "[add(a='x)]"})
    expect_both(kPythonicCalls, text, {content(text)});
}

TEST(PythonLiteralTest, ConvertsToJson) {
  EXPECT_EQ(python_arguments_to_json(R"(a = "\x41\u00e9\n\q\"", b=+1, )"), R"({"a": "Aé\n\\q\"", "b": 1})");
  EXPECT_EQ(python_arguments_to_json(""), "{}");
  for (const char* bad : {"a", "a=", "a=1 b=2", "=1", "1=1", "a=[1", "a={1: 2}", "a=\"", "a=1_000", "a=0x10",
                          "a=[1 2]", "a='\\ud800'", "a=nan", "a=--1"})
    EXPECT_EQ(python_arguments_to_json(bad), std::nullopt) << bad;
  const auto nested = [](int depth) {
    return "a=" + std::string(static_cast<size_t>(depth), '[') + std::string(static_cast<size_t>(depth), ']');
  };
  EXPECT_TRUE(python_arguments_to_json(nested(60)));
  EXPECT_FALSE(python_arguments_to_json(nested(100'000)));
}

TEST(ReasoningTest, ASectionAtTheStartIsThinking) {
  const ReasoningFormat* think = find_reasoning_format("think");
  expect_parse(plan_of(nullptr, think), "<think>\nHm, <b> </thin> ok.\n</think>\n\nThe answer: <think>.\n",
               {reasoning("Hm, <b> </thin> ok."), content("The answer: <think>.\n")});
  expect_parse(plan_of(nullptr, think), "\n<think></think>\nShort.", {content("Short.")});
  expect_parse(plan_of(nullptr, think), "<think>never ends </", {reasoning("never ends </")});
  for (const char* text : {"no <think>x</think>", "<thin", " x", "</think>y"})
    expect_parse(plan_of(nullptr, think), text, {content(text)});
}

TEST(ReasoningTest, ThePromptMayHaveOpenedIt) {
  OutputPlan plan = plan_of(&kHermesCalls, find_reasoning_format("think"));
  plan.reasoning_start = ReasoningParser::Start::opened;
  expect_parse(plan, "\nI call. <tool_call>\n</think>\n<tool_call>{\"name\": \"a\"}</tool_call>",
               {reasoning("I call. <tool_call>"), call("a"), arguments("{}")});
  plan.thinking = OutputPlan::Thinking::hide;
  expect_parse(plan, "secret</think>told", {content("told")});
}

TEST(OutputParserTest, CallsBeyondTheLimitAreDropped) {
  OutputPlan plan = plan_of(&kHermesCalls);
  plan.max_calls = 1;
  expect_parse(plan, R"(<tool_call>{"name": "a"}</tool_call><tool_call>{"name": "b"}</tool_call>)",
               {call("a"), arguments("{}")});
}

TEST(OutputFormatTest, IsDetectedFromTheTemplate) {
  const auto detected = [](std::string_view source) {
    const ToolCallFormat* format = detect_tool_call_format(source);
    return format ? format->name : "none";
  };
  EXPECT_EQ(detected("within <tool_call></tool_call> XML tags"), "hermes");
  EXPECT_EQ(detected("<tool_call>\n<function=example>"), "none");
  EXPECT_EQ(detected("{{ '[TOOL_CALLS] [' }}"), "mistral");
  EXPECT_EQ(detected("{{- '<|python_tag|>' }}"), "llama3_json");
  EXPECT_EQ(detected("[func_name1(params_name1=params_value1)]"), "pythonic");
  EXPECT_EQ(detected("<|im_start|>"), "none");
  EXPECT_EQ(detect_reasoning_format("{{ '<think>\\n' }}")->name, "think");
  EXPECT_EQ(detect_reasoning_format("<|im_start|>"), nullptr);
}

TEST(OutputFormatTest, CanBeNamed) {
  const std::optional<ChatTemplate> hermes = *ChatTemplate::compile("<tool_call>");
  EXPECT_EQ(choose_output_format({}, hermes)->tool_calls, &kHermesCalls);
  EXPECT_EQ(choose_output_format({.tool_calls = "none"}, hermes)->tool_calls, nullptr);
  EXPECT_EQ(choose_output_format({.tool_calls = "mistral"}, std::nullopt)->tool_calls, &kMistralCalls);
  const auto unknown = choose_output_format({.tool_calls = "nope"}, hermes);
  ASSERT_FALSE(unknown);
  EXPECT_NE(unknown.error().message.find("hermes"), std::string::npos);
  EXPECT_FALSE(choose_output_format({.reasoning = "nope"}, hermes));
}

// Text made of the formats' own fragments: nothing is lost or invented, and cuts do not matter.
TEST(OutputParserTest, HostileTextNeverDependsOnCuts) {
  constexpr std::array kFragments = {"<tool_call>",
                                     "</tool_call>",
                                     "{\"name\": \"add\"",
                                     ", \"arguments\": {",
                                     "\"a\": ",
                                     "1",
                                     "\"x\\\"",
                                     "}",
                                     "}",
                                     "[",
                                     "]",
                                     "\n",
                                     "<think>",
                                     "</think>",
                                     "[TOOL_CALLS]",
                                     "[ARGS]",
                                     "add",
                                     "(",
                                     ")",
                                     "=",
                                     ",",
                                     ";",
                                     "'",
                                     "\\",
                                     "<|python_tag|>",
                                     "<",
                                     "\x01",
                                     "é"};
  std::mt19937 random(1);
  const ReasoningFormat* think = find_reasoning_format("think");
  for (const ToolCallFormat* format : tool_call_formats()) {
    for (int round = 0; round < 3000; ++round) {
      std::string text;
      for (unsigned n = random() % 24; n > 0; --n) text += kFragments[random() % kFragments.size()];
      const OutputPlan plan = plan_of(format, round % 3 == 0 ? think : nullptr);
      const Tell tell = round % 2 == 0 ? Tell::at_once : Tell::when_complete;
      const OutputDeltas whole = parse(plan, {text}, tell);
      std::vector<std::string_view> pieces;
      for (size_t at = 0; at < text.size();) {
        const size_t size = 1 + random() % 5;
        pieces.push_back(std::string_view(text).substr(at, size));
        at += size;
      }
      EXPECT_EQ(parse(plan, pieces, tell), whole) << format->name << ": " << text;
    }
  }
}

TEST(OutputParserTest, DeepNestingIsContent) {
  const std::string deep = R"(<tool_call>{"name": "a", "arguments": )" + std::string(100'000, '{');
  EXPECT_EQ(parse(plan_of(&kHermesCalls), {deep}, Tell::when_complete), (OutputDeltas{content(deep)}));
}

}  // namespace
}  // namespace pagoda
