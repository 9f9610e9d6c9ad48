// Tool calls and reasoning in chat completions, over a fake model that says what the test wants.
#include "server/server_fixture.h"
#include "server/sse_events.h"

namespace pagoda::testing {
namespace {

namespace json = boost::json;

constexpr const char* kChat = "/v1/chat/completions";
constexpr const char* kTools =
    R"("tools":[{"type":"function","function":{"name":"get_weather","description":"d",
       "parameters":{"type":"object","properties":{"city":{"type":"string"}}}}},
       {"type":"function","function":{"name":"add"}}])";
constexpr const char* kCall =
    "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Rome\"}}\n</tool_call>";

std::string chat_body(std::string_view said, std::string_view members) {
  const json::array messages{json::object{{"role", "user"}, {"content", say(said)}}};
  return fmt::format(R"({{"messages":{},"temperature":0{}{}}})", json::serialize(messages),
                     members.empty() ? "" : ",", members);
}

class ToolTest : public ServerFixture {
 protected:
  json::value choice(std::string_view said, std::string_view members) {
    const HttpReply reply = post(kChat, chat_body(said, members));
    EXPECT_EQ(reply.status, 200) << reply.body;
    return parse(reply.body).at("choices").at(0);
  }
  // Of the question "q".
  std::string prompt_with(std::string_view members) {
    const HttpReply reply = post(
        "/apply-template", fmt::format(R"({{"messages":[{{"role":"user","content":"q"}}]{}}})", members));
    EXPECT_EQ(reply.status, 200) << reply.body;
    return std::string(parse(reply.body).at("prompt").as_string());
  }
  std::vector<json::value> deltas(std::string_view said, const std::string& members) {
    std::vector<json::value> result;
    for (const SseEvent& event : sse_events(post(kChat, chat_body(said, members + R"(,"stream":true)")))) {
      if (event.data == "[DONE]") continue;
      const json::value& choice = event.data.at("choices").at(0);
      if (!choice.at("finish_reason").is_null())
        finish = std::string(choice.at("finish_reason").as_string());
      else
        result.push_back(choice.at("delta"));
    }
    return result;
  }
  void expect_bad(const std::string& members, std::string_view param, std::string_view code) {
    expect_error(post(kChat, chat_body("x", members)), 400, "invalid_request_error", param, code);
  }
  std::string finish;
};

TEST_F(ToolTest, ACallIsAToolCallOfTheMessage) {
  start();
  const json::value answer = choice(kCall, kTools);
  EXPECT_EQ(answer.at("finish_reason"), "tool_calls");
  EXPECT_EQ(answer.at("message").at("content"), nullptr);
  const json::array& calls = answer.at("message").at("tool_calls").as_array();
  ASSERT_EQ(calls.size(), 1u);
  EXPECT_TRUE(calls[0].at("id").as_string().starts_with("call_"));
  EXPECT_EQ(calls[0].at("type"), "function");
  EXPECT_EQ(calls[0].at("function"),
            (json::object{{"name", "get_weather"}, {"arguments", R"({"city": "Rome"})"}}));
}

TEST_F(ToolTest, TextBesideCallsStays) {
  start();
  const json::value answer =
      choice(std::string("Let me see.\n") + kCall + "\n<tool_call>{\"name\": \"add\"}</tool_call>", kTools);
  EXPECT_EQ(answer.at("message").at("content"), "Let me see.");
  const json::array& calls = answer.at("message").at("tool_calls").as_array();
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_NE(calls[0].at("id"), calls[1].at("id"));
  EXPECT_EQ(calls[1].at("function").at("arguments"), "{}");
  const json::value one =
      choice(std::string(kCall) + kCall, std::string(kTools) + R"(,"parallel_tool_calls":false)");
  EXPECT_EQ(one.at("message").at("tool_calls").as_array().size(), 1u);
}

TEST_F(ToolTest, WithoutToolsOrWithNoneItIsText) {
  start();
  EXPECT_EQ(choice(kCall, "").at("message").at("content"), kCall);
  const json::value none = choice(kCall, std::string(kTools) + R"(,"tool_choice":"none")");
  EXPECT_EQ(none.at("message").at("content"), kCall);
  EXPECT_EQ(none.at("finish_reason"), "stop");
  EXPECT_FALSE(none.at("message").as_object().contains("tool_calls"));
}

TEST_F(ToolTest, AnEmptyListOfToolsIsRefusedWhereOpenAiDoes) {
  start();
  expect_bad(R"("tools":[])", "tools", "empty_array");
  EXPECT_EQ(post("/apply-template", chat_body("x", R"("tools":[])")).status, 200) << "llama.cpp's";
  EXPECT_EQ(post("/tokenize", chat_body("x", R"("tools":[])")).status, 200) << "vLLM's";
  EXPECT_EQ(post("/v1/responses", R"({"input":"x","max_output_tokens":1,"tools":[]})").status, 200);
  EXPECT_EQ(post("/v1/messages", R"({"messages":[{"role":"user","content":"x"}],"max_tokens":1,"tools":[]})")
                .status,
            200);
}

TEST_F(ToolTest, ACutOffCallIsTextAndTheReasonIsLength) {
  start();
  const json::value answer = choice(kCall, std::string(kTools) + R"(,"max_tokens":40)");
  EXPECT_EQ(answer.at("finish_reason"), "length");
  const json::string& content = answer.at("message").at("content").as_string();
  EXPECT_TRUE(content.starts_with("<tool_call>\n{\"name\": \"get_weather\"")) << content;
  EXPECT_TRUE(std::string_view(kCall).starts_with(content)) << content;
  EXPECT_FALSE(answer.at("message").as_object().contains("tool_calls"));
}

TEST_F(ToolTest, AStreamTellsTheNameThenTheArguments) {
  start();
  const auto pieces = deltas(std::string("Hm. ") + kCall, kTools);
  EXPECT_EQ(finish, "tool_calls");
  std::string content;
  std::string arguments;
  size_t num_begins = 0;
  size_t num_fragments = 0;
  for (const json::value& piece : pieces) {
    if (const auto* text = piece.as_object().if_contains("content")) content += text->as_string();
    const auto* calls = piece.as_object().if_contains("tool_calls");
    if (!calls) continue;
    ASSERT_EQ(calls->as_array().size(), 1u);
    const json::object& call = calls->at(0).as_object();
    EXPECT_EQ(call.at("index"), 0);
    if (call.contains("id")) {
      ++num_begins;
      EXPECT_TRUE(call.at("id").as_string().starts_with("call_"));
      EXPECT_EQ(call.at("type"), "function");
      EXPECT_EQ(call.at("function"), (json::object{{"name", "get_weather"}, {"arguments", ""}}));
    } else {
      ++num_fragments;
      EXPECT_FALSE(call.at("function").as_object().contains("name"));
      arguments += call.at("function").at("arguments").as_string();
    }
  }
  EXPECT_EQ(content, "Hm.");
  EXPECT_EQ(num_begins, 1u);
  EXPECT_GT(num_fragments, 5u) << "arguments come as they are written";
  EXPECT_EQ(arguments, R"({"city": "Rome"})");
}

TEST_F(ToolTest, AModelWithoutAFormatOfItsOwnCallsInJson) {
  output_format = OutputFormat{};
  start();
  for (const char* demand : {R"("required")", R"({"type":"function","function":{"name":"add"}})"}) {
    const std::string members = fmt::format(
        R"("tools":[{{"type":"function","function":{{"name":"add"}}}}],"parallel_tool_calls":false,"tool_choice":{})",
        demand);
    const json::value answer = choice("x", members);
    EXPECT_EQ(answer.at("finish_reason"), "tool_calls") << answer;
    EXPECT_EQ(answer.at("message").at("content"), nullptr);
    const json::array& calls = answer.at("message").at("tool_calls").as_array();
    ASSERT_EQ(calls.size(), 1u);
    std::string arguments;
    for (const json::value& piece : deltas("x", members)) {
      EXPECT_FALSE(piece.as_object().contains("content") && piece.at("content") != "") << piece;
      if (const auto* call = piece.as_object().if_contains("tool_calls"))
        arguments += call->at(0).at("function").at("arguments").as_string();
    }
    EXPECT_EQ(calls[0].at("function").at("arguments"), json::value(arguments));
    EXPECT_EQ(finish, "tool_calls");
  }
  const std::string text = R"({"name": "add", "parameters": {}})";
  EXPECT_EQ(choice(text, kTools).at("message").at("content"), json::value(text)) << "nothing was demanded";
}

TEST_F(ToolTest, ThinkingIsCountedAlsoWhereItIsNotShown) {
  start();
  const std::string said = "<think>Two and two make four.</think>Four.";
  const auto reasoning_tokens = [](const json::value& usage) {
    return usage.at("completion_tokens_details").at("reasoning_tokens").as_int64();
  };
  const auto usage_of = [&](std::string_view text, std::string_view members) {
    const HttpReply reply = post(kChat, chat_body(text, members));
    EXPECT_EQ(reply.status, 200) << reply.body;
    return parse(reply.body).at("usage");
  };
  const json::value shown = usage_of(said, "");
  EXPECT_GT(reasoning_tokens(shown), 0);
  EXPECT_LT(reasoning_tokens(shown), shown.at("completion_tokens").as_int64());
  EXPECT_EQ(reasoning_tokens(usage_of(said, R"("include_reasoning":false)")), reasoning_tokens(shown));
  EXPECT_EQ(reasoning_tokens(usage_of(said, R"("n":3)")), 3 * reasoning_tokens(shown));
  EXPECT_EQ(reasoning_tokens(usage_of("Four.", "")), 0);
  EXPECT_EQ(reasoning_tokens(usage_of(said, R"("separate_reasoning":false)")), 0) << "it is content";
  std::vector<json::value> usages;
  const std::string streamed =
      R"("stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true})";
  for (const SseEvent& event : sse_events(post(kChat, chat_body(said, streamed))))
    if (event.data != "[DONE]") usages.push_back(event.data.at("usage"));
  ASSERT_GT(usages.size(), 3u);
  for (size_t i = 1; i < usages.size(); ++i)
    EXPECT_LE(reasoning_tokens(usages[i - 1]), reasoning_tokens(usages[i]));
  EXPECT_EQ(reasoning_tokens(usages.back()), reasoning_tokens(shown));
}

TEST_F(ToolTest, TheEffortOfReasoningReachesTheTemplate) {
  chat_template =
      "{% for message in messages %}{{ message.content }}{% endfor %}|{{ reasoning_effort }}|"
      "{{ enable_thinking }}|{{ verbosity }}";
  start();
  EXPECT_EQ(prompt_with(""), "q|||");
  EXPECT_EQ(prompt_with(R"(,"reasoning_effort":"high","verbosity":"low")"), "q|high|True|low");
  EXPECT_EQ(prompt_with(R"(,"reasoning_effort":"none")"), "q|none|False|");
  EXPECT_EQ(prompt_with(R"(,"reasoning_effort":"low","chat_template_kwargs":{"enable_thinking":false})"),
            "q|low|False|")
      << "what the request says itself";
  expect_bad(R"("reasoning_effort":"most")", "reasoning_effort", "invalid_value");
  expect_bad(R"("reasoning_effort":"")", "reasoning_effort", "invalid_value");
  expect_bad(R"("reasoning_effort":3)", "reasoning_effort", "invalid_type");
  expect_bad(R"("verbosity":"most")", "verbosity", "invalid_value");
  expect_bad(R"("prediction":"text")", "prediction", "invalid_type");
}

TEST_F(ToolTest, ThinkingIsReasoningContent) {
  start();
  const std::string said = "<think>\nTwo and two.\n</think>\n\nFour.";
  const json::value answer = choice(said, "");
  EXPECT_EQ(answer.at("message").at("reasoning_content"), "Two and two.");
  EXPECT_EQ(answer.at("message").at("reasoning"), "Two and two.") << "vLLM's name";
  EXPECT_EQ(answer.at("message").at("content"), "Four.");
  const json::value hidden = choice(said, R"("include_reasoning":false)");
  for (const char* name : {"reasoning_content", "reasoning"})
    EXPECT_FALSE(hidden.at("message").as_object().contains(name)) << name;
  EXPECT_EQ(hidden.at("message").at("content"), "Four.");
  EXPECT_EQ(choice(said, R"("separate_reasoning":false)").at("message").at("content"), json::value(said));
  std::string reasoning;
  std::string content;
  for (const json::value& piece : deltas(said, R"("n":1)")) {
    if (const auto* text = piece.as_object().if_contains("reasoning_content")) {
      reasoning += text->as_string();
      EXPECT_EQ(piece.at("reasoning"), *text);
    }
    if (const auto* text = piece.as_object().if_contains("content")) content += text->as_string();
  }
  EXPECT_EQ(reasoning, "Two and two.");
  EXPECT_EQ(content, "Four.");
}

TEST_F(ToolTest, APromptMayEndInsideTheThinkingSection) {
  start();
  const json::array messages{json::object{{"role", "user"}, {"content", say("<think>So</think>Done.")}},
                             json::object{{"role", "assistant"}, {"content", "<think>"}}};
  const HttpReply reply =
      post(kChat, fmt::format(R"({{"messages":{},"temperature":0,"continue_final_message":true}})",
                              json::serialize(messages)));
  ASSERT_EQ(reply.status, 200) << reply.body;
  const json::value message = parse(reply.body).at("choices").at(0).at("message");
  EXPECT_EQ(message.at("reasoning_content"), "So");
  EXPECT_EQ(message.at("content"), "Done.");
}

TEST_F(ToolTest, ThinkingThatTheTemplateOpensIsClosedIfNotWanted) {
  chat_template =
      "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
      "{% endfor %}<|im_start|>assistant\n<think>{{ '\n' }}";
  start();
  EXPECT_TRUE(prompt_with("").ends_with("assistant\n<think>\n"));
  EXPECT_TRUE(prompt_with(R"(,"chat_template_kwargs":{"enable_thinking":true})").ends_with("<think>\n"));
  EXPECT_TRUE(
      prompt_with(R"(,"chat_template_kwargs":{"enable_thinking":false})").ends_with("<think>\n</think>"));
  const std::string off =
      R"("chat_template_kwargs":{"enable_thinking":false},"max_tokens":3,"ignore_eos":true)";
  EXPECT_FALSE(choice("ab", off).at("message").as_object().contains("reasoning_content"));
}

TEST_F(ToolTest, CallsAndResultsInTheHistoryAreRendered) {
  start();
  const json::array messages{
      json::object{{"role", "user"}, {"content", "Weather?"}},
      json::object{
          {"role", "assistant"},
          {"content", nullptr},
          {"tool_calls",
           json::array{json::object{
               {"id", "call_1"},
               {"type", "function"},
               {"function", json::object{{"name", "get_weather"}, {"arguments", R"({"city":"Rome"})"}}}}}}},
      json::object{{"role", "tool"}, {"tool_call_id", "call_1"}, {"content", say("Sunny.")}}};
  const HttpReply reply =
      post(kChat, fmt::format(R"({{"messages":{},"temperature":0,{}}})", json::serialize(messages), kTools));
  ASSERT_EQ(reply.status, 200) << reply.body;
  EXPECT_EQ(parse(reply.body).at("choices").at(0).at("message").at("content"), "Sunny.");
}

TEST_F(ToolTest, EachChoiceHasItsOwnCalls) {
  start();
  const HttpReply reply = post(kChat, chat_body(kCall, std::string(kTools) + R"(,"n":2)"));
  ASSERT_EQ(reply.status, 200) << reply.body;
  const json::value answer = parse(reply.body);
  EXPECT_NE(answer.at("choices").at(0).at("message").at("tool_calls").at(0).at("id"),
            answer.at("choices").at(1).at("message").at("tool_calls").at(0).at("id"));
}

TEST_F(ToolTest, LogprobsStayComplete) {
  start();
  size_t num_tokens = 0;
  for (const SseEvent& event : sse_events(post(
           kChat, chat_body(kCall, std::string(kTools) + R"(,"logprobs":true,"stream":true,)"
                                                         R"("stream_options":{"include_usage":true})")))) {
    if (event.data == "[DONE]") continue;
    if (event.data.at("choices").as_array().empty()) {
      EXPECT_EQ(event.data.at("usage").at("completion_tokens").as_int64(), static_cast<int64_t>(num_tokens))
          << "all tokens, the end among them";
      continue;
    }
    const json::value& logprobs = event.data.at("choices").at(0).at("logprobs");
    if (!logprobs.is_null()) num_tokens += logprobs.at("content").as_array().size();
  }
  EXPECT_GT(num_tokens, 20u);
}

// The fake model's own text is noise; under the constraint it must be calls by the schemas.
TEST_F(ToolTest, DemandedCallsAreEnforced) {
  start();
  const std::string schema =
      R"({"type":"object","properties":{"unit":{"enum":["C","F"]}},"required":["unit"],)"
      R"("additionalProperties":false})";
  const std::string tools = fmt::format(
      R"("tools":[{{"function":{{"name":"get_weather","parameters":{0}}}}},{{"function":{{"name":"now"}}}}])",
      schema);
  const auto body = [&](std::string_view choice, std::string_view more) {
    return fmt::format(
        R"({{"messages":[{{"role":"user","content":"hi"}}],"seed":3,"separate_reasoning":false,{},"tool_choice":{}{}}})",
        tools, choice, more);
  };
  const auto expect_calls = [&](const json::value& choice, size_t min, size_t max, bool only_weather) {
    EXPECT_EQ(choice.at("finish_reason"), "tool_calls");
    const json::array& calls = choice.at("message").at("tool_calls").as_array();
    EXPECT_GE(calls.size(), min);
    EXPECT_LE(calls.size(), max);
    for (const json::value& call : calls) {
      const json::object& function = call.at("function").as_object();
      const json::value arguments = parse(std::string(function.at("arguments").as_string()));
      if (function.at("name") == "get_weather")
        EXPECT_TRUE(arguments.at("unit") == "C" || arguments.at("unit") == "F");
      else
        EXPECT_EQ(arguments, json::object{});
      EXPECT_TRUE(!only_weather || function.at("name") == "get_weather");
    }
  };
  const std::string named = R"({"type":"function","function":{"name":"get_weather"}})";
  for (const std::string& choice : {std::string(R"("required")"), named}) {
    const HttpReply reply = post(kChat, body(choice, ""));
    ASSERT_EQ(reply.status, 200) << reply.body;
    expect_calls(parse(reply.body).at("choices").at(0), 1, choice == named ? 1 : 16, choice == named);
  }
  const HttpReply one = post(kChat, body(R"("required")", R"(,"parallel_tool_calls":false)"));
  expect_calls(parse(one.body).at("choices").at(0), 1, 1, false);

  std::string arguments;
  std::string name;
  for (const SseEvent& event : sse_events(post(kChat, body(named, R"(,"stream":true)")))) {
    const json::value* delta = event.data == "[DONE]" ? nullptr : &event.data.at("choices").at(0).at("delta");
    if (!delta || !delta->as_object().contains("tool_calls")) continue;
    const json::object& function = delta->at("tool_calls").at(0).at("function").as_object();
    if (const auto* text = function.if_contains("name")) name += text->as_string();
    arguments += function.at("arguments").as_string();
  }
  EXPECT_EQ(name, "get_weather");
  EXPECT_TRUE(parse(arguments).as_object().contains("unit"));
}

// What the model would say is wrong, and `strict` leaves it no way to say it.
TEST_F(ToolTest, StrictCallsFitAlsoWhereTheModelIsFree) {
  start();
  const auto tools = [](bool strict) {
    return fmt::format(
        R"("tools":[{{"function":{{"name":"f","strict":{},"parameters":{{"type":"object","properties":)"
        R"({{"unit":{{"enum":["C","F"]}}}},"required":["unit"],"additionalProperties":false}}}}}},)"
        R"({{"function":{{"name":"g","parameters":{{"type":"object","properties":{{"x":{{"enum":[1]}}}}}}}}}}])",
        strict);
  };
  const std::string wrong =
      "Hm. <tool_call>\n{\"name\": \"f\", \"arguments\": {\"unit\": \"K\"}}\n</tool_call>";
  const auto arguments_of = [](const json::value& answer) {
    return answer.at("message").at("tool_calls").at(0).at("function").at("arguments");
  };
  EXPECT_EQ(arguments_of(choice(wrong, tools(false))), R"({"unit": "K"})");
  const json::value held = choice(wrong, tools(true));
  EXPECT_EQ(held.at("message").at("content"), "Hm.");
  EXPECT_EQ(held.at("message").at("tool_calls").at(0).at("function").at("name"), "f");
  const json::value unit = parse(std::string(arguments_of(held).as_string())).at("unit");
  EXPECT_TRUE(unit == "C" || unit == "F") << json::serialize(held);
  const std::string lax = "<tool_call>\n{\"name\": \"g\", \"arguments\": {\"x\": 2}}\n</tool_call>";
  EXPECT_EQ(arguments_of(choice(lax, tools(true))), R"({"x": 2})") << "not strict itself";
  EXPECT_EQ(choice("Just {text}.", tools(true)).at("message").at("content"), "Just {text}.");
  const json::value thought = choice("<think>\n" + wrong + "\n</think>\n\nNo.", tools(true));
  EXPECT_EQ(thought.at("message").at("reasoning_content"), json::value(wrong)) << "thinking is free";
  EXPECT_EQ(thought.at("message").at("content"), "No.");
  expect_bad(R"("tools":[{"function":{"name":"f","strict":true,"parameters":{"type":"nonsense"}}}])", "tools",
             "invalid_value");
}

TEST_F(ToolTest, CallIdsAreAsTheTemplateWantsThem) {
  output_format = OutputFormat{.tool_calls = &kHermesCalls, .call_ids = CallIdStyle::nine_letters};
  chat_template =
      "{% for message in messages %}{% for call in message.tool_calls or [] %}"
      "{% if call.id|length != 9 %}{{ raise_exception('nine!') }}{% endif %}{{ call.id }}{% endfor %}"
      "{% if message.tool_call_id %}={{ message.tool_call_id }};{% endif %}"
      "{{ message.content or '' }}{% endfor %}<|im_start|>assistant\n";
  start();
  const std::string id(choice(kCall, kTools).at("message").at("tool_calls").at(0).at("id").as_string());
  EXPECT_EQ(id.size(), 9u);
  const std::vector<json::value> pieces = deltas(kCall, kTools);
  const auto begin = std::ranges::find_if(
      pieces, [](const json::value& piece) { return piece.as_object().contains("tool_calls"); });
  ASSERT_NE(begin, pieces.end());
  EXPECT_EQ(begin->at("tool_calls").at(0).at("id").as_string().size(), 9u);
  const auto prompt_with = [&](std::string_view call_id) {
    const HttpReply reply = post(
        "/apply-template",
        fmt::format(
            R"({{"messages":[{{"role":"assistant","tool_calls":[{{"id":"{0}","function":{{"name":"f"}}}}]}},)"
            R"({{"role":"tool","tool_call_id":"{0}","content":"r"}}]}})",
            call_id));
    EXPECT_EQ(reply.status, 200) << reply.body;
    return std::string(parse(reply.body).at("prompt").as_string());
  };
  EXPECT_TRUE(prompt_with(id).starts_with(id + "=" + id + ";r"));
  const std::string foreign = prompt_with("call_from_elsewhere");
  EXPECT_EQ(foreign.substr(0, 9), foreign.substr(10, 9)) << "call and result still match";
}

// What is said fits the constraint here: thinking first, and then the call.
TEST_F(ToolTest, ThinkingStaysFreeBeforeADemandedCallOrFormat) {
  start();
  const std::string tools = R"("tools":[{"function":{"name":"f"}}],"tool_choice":"required")";
  const json::value called = choice(
      "<think>\nHm, {.\n</think>\n\n<tool_call>\n{\"name\":\"f\",\"arguments\":{}}\n</tool_call>", tools);
  EXPECT_EQ(called.at("message").at("reasoning_content"), "Hm, {.");
  EXPECT_EQ(called.at("message").at("tool_calls").at(0).at("function").at("name"), "f");
  EXPECT_EQ(called.at("finish_reason"), "tool_calls");
  const json::value formatted = choice("<think>Hm.</think>{}", R"("response_format":{"type":"json_object"})");
  EXPECT_EQ(formatted.at("message").at("reasoning_content"), "Hm.");
  EXPECT_EQ(formatted.at("message").at("content"), "{}");
}

TEST_F(ToolTest, ASchemaThatCannotBeEnforcedIsNamed) {
  start();
  expect_bad(
      R"("tools":[{"function":{"name":"f","parameters":{"type":"nonsense"}}}],"tool_choice":"required")",
      "tools", "invalid_value");
}

TEST_F(ToolTest, BadToolsAreNamed) {
  start();
  expect_bad(R"("tools":{})", "tools", "invalid_type");
  expect_bad(R"("tools":[1])", "tools[0]", "invalid_type");
  expect_bad(R"("tools":[{"type":"web_search"}])", "tools[0].type", "unsupported_value");
  expect_bad(R"("tools":[{"type":"function"}])", "tools[0].function", "missing_required_parameter");
  expect_bad(R"("tools":[{"type":"function","function":{}}])", "tools[0].function.name",
             "missing_required_parameter");
  for (const char* name : {"", "a b", "ä", "a.b"})
    expect_bad(fmt::format(R"("tools":[{{"type":"function","function":{{"name":"{}"}}}}])", name),
               "tools[0].function.name", "invalid_value");
  expect_bad(R"("tools":[{"function":{"name":"a"}},{"function":{"name":"a"}}])", "tools[1].function.name",
             "duplicate_value");
  expect_bad(R"("tools":[{"function":{"name":"a","parameters":[]}}])", "tools[0].function.parameters",
             "invalid_type");
  expect_bad(R"("tools":[{"function":{"name":"a","strict":1}}])", "tools[0].function.strict", "invalid_type");
  expect_bad(R"("parallel_tool_calls":1)", "parallel_tool_calls", "invalid_type");
  expect_bad(R"("functions":[])", "functions", "unsupported_parameter");
}

TEST_F(ToolTest, BadChoicesAreNamed) {
  start();
  const std::string tools = std::string(kTools) + R"(,"tool_choice":)";
  expect_bad(tools + R"("any")", "tool_choice", "invalid_value");
  expect_bad(tools + "1", "tool_choice", "invalid_type");
  expect_bad(tools + R"({"type":"x"})", "tool_choice.type", "unsupported_value");
  expect_bad(tools + R"({"type":"function"})", "tool_choice.function", "missing_required_parameter");
  expect_bad(tools + R"({"type":"function","function":{"name":"other"}})", "tool_choice.function.name",
             "invalid_value");
  expect_bad(R"("tool_choice":"required")", "tool_choice", "invalid_value");
  expect_bad(R"("tool_choice":"auto")", "tool_choice", "invalid_value");
  expect_bad(R"("tool_choice":{"type":"function","function":{"name":"f"}})", "tool_choice", "invalid_value");
  expect_bad(R"("tools":[],"tool_choice":"required")", "tools", "empty_array");
  EXPECT_EQ(choice("Hello.", R"("tool_choice":"none")").at("message").at("content"), "Hello.");
}

}  // namespace
}  // namespace pagoda::testing
