// /v1/responses over the fake model: shapes of responses, events, errors, and what becomes of the items.
#include "server/openai/responses_request.h"
#include "server/server_fixture.h"
#include "server/sse_events.h"

namespace pagoda::testing {
namespace {

namespace json = boost::json;

constexpr const char* kResponses = "/v1/responses";
constexpr const char* kTools =
    R"("tools":[{"type":"function","name":"get_weather","parameters":{"type":"object","properties":{}}}])";
constexpr const char* kCall =
    "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Rome\"}}\n</tool_call>";
const ModelLimits kLimits{.vocab_size = 100, .max_context = 64, .max_choices = 128};

std::string body_of(std::string_view said, std::string_view members) {
  return fmt::format(R"({{"model":"fake","input":{},"temperature":0{}{}}})",
                     json::serialize(json::value(say(said))), members.empty() ? "" : ",", members);
}

class ResponsesTest : public ServerFixture {
 protected:
  json::value response(std::string_view said, std::string_view members) {
    const HttpReply reply = post(kResponses, body_of(said, members));
    EXPECT_EQ(reply.status, 200) << reply.body;
    return parse(reply.body);
  }
};

TEST_F(ResponsesTest, AResponseHasOpenAisShape) {
  start();
  const json::value answer =
      response("Hello.", R"("instructions":"Be brief.","metadata":{"a":"b"},"store":true)");
  EXPECT_TRUE(answer.at("id").as_string().starts_with("resp_"));
  EXPECT_EQ(answer.at("object"), "response");
  EXPECT_EQ(answer.at("status"), "completed");
  EXPECT_EQ(answer.at("error"), nullptr);
  EXPECT_EQ(answer.at("incomplete_details"), nullptr);
  EXPECT_EQ(answer.at("instructions"), "Be brief.");
  EXPECT_EQ(answer.at("metadata"), (json::object{{"a", "b"}}));
  EXPECT_EQ(answer.at("store"), false) << "nothing is kept";
  EXPECT_EQ(answer.at("text"), (json::object{{"format", json::object{{"type", "text"}}}}));
  ASSERT_EQ(answer.at("output").as_array().size(), 1u);
  const json::value& item = answer.at("output").at(0);
  EXPECT_EQ(item.at("type"), "message");
  EXPECT_EQ(item.at("role"), "assistant");
  EXPECT_EQ(item.at("status"), "completed");
  EXPECT_EQ(item.at("content"), (json::array{json::object{{"type", "output_text"},
                                                          {"text", "Hello."},
                                                          {"annotations", json::array{}},
                                                          {"logprobs", json::array{}}}}));
  const json::object& usage = answer.at("usage").as_object();
  EXPECT_EQ(usage.at("output_tokens"), 7);
  EXPECT_EQ(usage.at("total_tokens").as_int64(), usage.at("input_tokens").as_int64() + 7);
}

TEST_F(ResponsesTest, WhatIsCutIsIncomplete) {
  start();
  const json::value answer = response("Hello there.", R"("max_output_tokens":5)");
  EXPECT_EQ(answer.at("status"), "incomplete");
  EXPECT_EQ(answer.at("incomplete_details"), (json::object{{"reason", "max_output_tokens"}}));
  EXPECT_EQ(answer.at("output").at(0).at("status"), "incomplete");
}

TEST_F(ResponsesTest, CallsAndReasoningAreItems) {
  start();
  const json::value answer = response(std::string("<think>Hm.</think>I look.\n") + kCall, kTools);
  const json::array& output = answer.at("output").as_array();
  ASSERT_EQ(output.size(), 3u);
  EXPECT_EQ(output[0].at("type"), "reasoning");
  EXPECT_EQ(output[0].at("content").at(0).at("text"), "Hm.");
  EXPECT_EQ(output[1].at("content").at(0).at("text"), "I look.");
  EXPECT_EQ(output[2].at("type"), "function_call");
  EXPECT_TRUE(output[2].at("call_id").as_string().starts_with("call_"));
  EXPECT_EQ(output[2].at("name"), "get_weather");
  EXPECT_EQ(output[2].at("arguments"), R"({"city": "Rome"})");
}

TEST_F(ResponsesTest, AStreamHasAllEventsInOrder) {
  start();
  const auto events = sse_events(post(kResponses, body_of(std::string("<think>Hm.</think>I look.\n") + kCall,
                                                          std::string(kTools) + R"(,"stream":true)")));
  std::vector<std::string> names;
  for (size_t i = 0; i < events.size(); ++i) {
    EXPECT_EQ(events[i].data.at("type"), json::value(events[i].name));
    EXPECT_EQ(events[i].data.at("sequence_number"), i);
    if (names.empty() || names.back() != events[i].name) names.push_back(events[i].name);
  }
  const std::vector<std::string> expected = {"response.created",
                                             "response.in_progress",
                                             "response.output_item.added",
                                             "response.content_part.added",
                                             "response.reasoning_text.delta",
                                             "response.reasoning_text.done",
                                             "response.content_part.done",
                                             "response.output_item.done",
                                             "response.output_item.added",
                                             "response.content_part.added",
                                             "response.output_text.delta",
                                             "response.output_text.done",
                                             "response.content_part.done",
                                             "response.output_item.done",
                                             "response.output_item.added",
                                             "response.function_call_arguments.delta",
                                             "response.function_call_arguments.done",
                                             "response.output_item.done",
                                             "response.completed"};
  EXPECT_EQ(names, expected);
  EXPECT_EQ(events.front().data.at("response").at("status"), "in_progress");
  EXPECT_EQ(events.front().data.at("response").at("usage"), nullptr);
  std::map<std::string, std::string> texts;
  for (const SseEvent& event : events)
    if (event.name.ends_with(".delta")) texts[event.name] += event.data.at("delta").as_string();
  EXPECT_EQ(texts.at("response.output_text.delta"), "I look.");
  EXPECT_EQ(texts.at("response.function_call_arguments.delta"), R"({"city": "Rome"})");
  const json::value& last = events.back().data.at("response");
  EXPECT_EQ(last.at("status"), "completed");
  EXPECT_EQ(last.at("output").as_array().size(), 3u);
  EXPECT_GT(last.at("usage").at("output_tokens").as_int64(), 0);
  json::array done;
  for (const SseEvent& event : events)
    if (event.name == "response.output_item.done") done.push_back(event.data.at("item"));
  EXPECT_EQ(last.at("output"), done);
}

TEST_F(ResponsesTest, TextFormatAndToolChoiceAreEnforced) {
  start();
  const json::value answer = parse(
      post(
          kResponses,
          R"({"input":"x","seed":5,"separate_reasoning":false,"text":{"format":{"type":"json_schema","name":"n","schema":
        {"type":"object","properties":{"a":{"enum":["x","y"]}},"required":["a"],"additionalProperties":false}}}})")
          .body);
  const json::value made =
      parse(std::string(answer.at("output").as_array().back().at("content").at(0).at("text").as_string()));
  EXPECT_TRUE(made.at("a") == "x" || made.at("a") == "y");
  const json::value called = parse(
      post(
          kResponses,
          fmt::format(
              R"({{"input":"x","seed":5,"separate_reasoning":false,{},"parallel_tool_calls":false,"tool_choice":"required"}})",
              R"("tools":[{"type":"function","name":"f"}])"))
          .body);
  EXPECT_EQ(called.at("output").as_array().back().at("name"), "f");
  expect_error(
      post(kResponses, R"({"input":"x","text":{"format":{"type":"json_schema","schema":{"type":"zz"}}}})"),
      400, "invalid_request_error", "text.format.schema", "invalid_value");
}

TEST_F(ResponsesTest, StateIsRefused) {
  start();
  expect_error(post(kResponses, R"({"input":"x","previous_response_id":"resp_1"})"), 400,
               "invalid_request_error", "previous_response_id", "unsupported_parameter");
  expect_error(post(kResponses, R"({"input":"x","background":true})"), 400, "invalid_request_error",
               "background", "unsupported_parameter");
}

json::array messages_of(std::string_view input) {
  const auto request = parse_responses_request(fmt::format(R"({{"input":{}}})", input), kLimits);
  EXPECT_TRUE(request) << input << ": " << (request ? "" : request.error().message);
  return request ? request->chat.messages : json::array{};
}

TEST(ResponsesRequestTest, ItemsBecomeMessages) {
  EXPECT_EQ(messages_of(R"([{"role":"developer","content":"d"},
              {"type":"message","role":"user","content":[{"type":"input_text","text":"a"},{"type":"input_text","text":"b"}]},
              {"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"t"}]},
              {"type":"function_call","call_id":"1","name":"f","arguments":"{\"x\":1}"},
              {"type":"function_call","call_id":"2","name":"g","arguments":"{}"},
              {"type":"function_call_output","call_id":"1","output":"r"},
              {"role":"assistant","content":[{"type":"output_text","text":"z","annotations":[]}]}])"),
            json::parse(R"([{"role":"system","content":"d"},{"role":"user","content":"a\nb"},
              {"role":"assistant","content":"","reasoning_content":"t","tool_calls":[
                {"id":"1","type":"function","function":{"name":"f","arguments":{"x":1}}},
                {"id":"2","type":"function","function":{"name":"g","arguments":{}}}]},
              {"role":"tool","tool_call_id":"1","content":"r","name":"f"},{"role":"assistant","content":"z"}])"));
}

TEST(ResponsesRequestTest, MistakesAreNamed) {
  const std::pair<const char*, const char*> kBad[] = {
      {R"("x":1)", "input"},
      {R"("input":5)", "input"},
      {R"("input":[])", "input"},
      {R"("input":[5])", "input[0]"},
      {R"("input":[{"type":"item_reference","id":"1"}])", "input[0].type"},
      {R"("input":[{"role":"robot","content":"x"}])", "input[0].role"},
      {R"("input":[{"role":"user"}])", "input[0].content"},
      {R"("input":[{"role":"user","content":[{"type":"input_image"}]}])", "input[0].content[0].type"},
      {R"("input":[{"type":"function_call","call_id":"1","name":"f","arguments":"["}])",
       "input[0].arguments"},
      {R"("input":[{"type":"function_call_output","call_id":"1"}])", "input[0].output"},
      {R"("input":"x","tools":[{"type":"web_search"}])", "tools[0].type"},
      {R"("input":"x","tools":[{"type":"function"}])", "tools[0].name"},
      {R"("input":"x","tool_choice":"required")", "tool_choice"},
      {R"("input":"x","max_output_tokens":0)", "max_output_tokens"},
      {R"("input":"x","include":["message.output_text.logprobs","everything"])", "include[1]"},
      {R"("input":"x","max_tool_calls":0)", "max_tool_calls"},
      {R"("input":"x","reasoning":{"effort":"most"})", "reasoning.effort"},
      {R"("input":"x","text":{"verbosity":"most"})", "text.verbosity"},
      {R"("input":"x","stream_options":true)", "stream_options"},
      {R"("input":"x","truncation":"auto")", "truncation"},
      {R"("input":"x","conversation":"c")", "conversation"},
      {R"("input":"x","text":{"format":{"type":"yaml"}})", "text.format.type"}};
  for (const auto& [members, param] : kBad) {
    const auto request = parse_responses_request(fmt::format("{{{}}}", members), kLimits);
    ASSERT_FALSE(request) << members;
    EXPECT_EQ(request.error().param, param) << members << ": " << request.error().message;
  }
}

}  // namespace
}  // namespace pagoda::testing
