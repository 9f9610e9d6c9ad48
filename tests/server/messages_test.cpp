// Anthropic's API over the fake model: shapes of messages, events, errors, and what becomes of the blocks.
#include "server/anthropic/messages_request.h"
#include "server/server_fixture.h"
#include "server/sse_events.h"

namespace pagoda::testing {
namespace {

namespace json = boost::json;

constexpr const char* kMessages = "/v1/messages";
constexpr const char* kCount = "/v1/messages/count_tokens";
constexpr const char* kTools =
    R"("tools":[{"name":"get_weather","description":"d","input_schema":{"type":"object","properties":{}}}])";
constexpr const char* kCall =
    "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Rome\"}}\n</tool_call>";
const ModelLimits kLimits{.vocab_size = 100, .max_context = 64, .max_choices = 128};

std::string body_of(std::string_view said, std::string_view members) {
  const json::array messages{json::object{{"role", "user"}, {"content", say(said)}}};
  return fmt::format(R"({{"model":"fake","messages":{},"max_tokens":200,"temperature":0{}{}}})",
                     json::serialize(messages), members.empty() ? "" : ",", members);
}

class MessagesTest : public ServerFixture {
 protected:
  json::value message(std::string_view said, std::string_view members) {
    const HttpReply reply = post(kMessages, body_of(said, members));
    EXPECT_EQ(reply.status, 200) << reply.body;
    return parse(reply.body);
  }
  static void expect_anthropic_error(const HttpReply& reply, int status, std::string_view type) {
    EXPECT_EQ(reply.status, status) << reply.body;
    const json::value body = parse(reply.body);
    EXPECT_EQ(body.at("type"), "error");
    EXPECT_EQ(body.at("error").at("type"), json::value(type));
    EXPECT_FALSE(body.at("error").at("message").as_string().empty());
  }
};

TEST_F(MessagesTest, AMessageHasAnthropicsShape) {
  start();
  const json::value answer = message("Hello.", "");
  EXPECT_TRUE(answer.at("id").as_string().starts_with("msg_"));
  EXPECT_EQ(answer.at("type"), "message");
  EXPECT_EQ(answer.at("role"), "assistant");
  EXPECT_EQ(answer.at("model"), "fake");
  EXPECT_EQ(answer.at("content"), (json::array{json::object{{"type", "text"}, {"text", "Hello."}}}));
  EXPECT_EQ(answer.at("stop_reason"), "end_turn");
  EXPECT_EQ(answer.at("stop_sequence"), nullptr);
  EXPECT_EQ(answer.at("usage").at("output_tokens"), 7);
  EXPECT_GT(answer.at("usage").at("input_tokens").as_int64(), 0);
}

TEST_F(MessagesTest, TheEndIsTold) {
  start();
  EXPECT_EQ(message("Hello.", "").at("stop_reason"), "end_turn");
  const json::value stopped = message("one two three", R"("stop_sequences":["two"])");
  EXPECT_EQ(stopped.at("stop_reason"), "stop_sequence");
  EXPECT_EQ(stopped.at("stop_sequence"), "two");
  EXPECT_EQ(stopped.at("content").at(0).at("text"), "one ");
  const HttpReply cut =
      post(kMessages, R"({"messages":[{"role":"user","content":"x"}],"max_tokens":3,"ignore_eos":true})");
  EXPECT_EQ(parse(cut.body).at("stop_reason"), "max_tokens");
}

TEST_F(MessagesTest, CallsAndThinkingAreBlocks) {
  start();
  const json::value answer = message(std::string("<think>Hm.</think>I look.\n") + kCall, kTools);
  const json::array& content = answer.at("content").as_array();
  ASSERT_EQ(content.size(), 3u);
  EXPECT_EQ(content[0].at("type"), "thinking");
  EXPECT_EQ(content[0].at("thinking"), "Hm.");
  EXPECT_EQ(content[1].at("text"), "I look.");
  EXPECT_EQ(content[2].at("type"), "tool_use");
  EXPECT_TRUE(content[2].at("id").as_string().starts_with("toolu_"));
  EXPECT_EQ(content[2].at("name"), "get_weather");
  EXPECT_EQ(content[2].at("input"), (json::object{{"city", "Rome"}}));
  EXPECT_EQ(answer.at("stop_reason"), "tool_use");
  const json::value hidden = message("<think>Hm.</think>So.", R"("thinking":{"type":"disabled"})");
  EXPECT_EQ(hidden.at("content").as_array().size(), 1u);
}

TEST_F(MessagesTest, AStreamHasAllEventsInOrder) {
  start();
  const auto events = sse_events(post(kMessages, body_of(std::string("<think>Hm.</think>I look.\n") + kCall,
                                                         std::string(kTools) + R"(,"stream":true)")));
  std::vector<std::string> names;
  std::map<int64_t, std::string> texts;
  json::value start_event;
  json::value tool_start;
  json::value end_event;
  for (const SseEvent& event : events) {
    EXPECT_EQ(event.data.at("type"), json::value(event.name));
    if (names.empty() || names.back() != event.name) names.push_back(event.name);
    if (event.name == "message_start") start_event = event.data.at("message");
    if (event.name == "message_delta") end_event = event.data;
    if (event.name == "content_block_start" && event.data.at("content_block").at("type") == "tool_use")
      tool_start = event.data.at("content_block");
    if (event.name != "content_block_delta") continue;
    const json::object& delta = event.data.at("delta").as_object();
    for (const char* member : {"text", "thinking", "partial_json"})
      if (const auto* text = delta.if_contains(member))
        texts[event.data.at("index").as_int64()] += text->as_string();
  }
  EXPECT_EQ(names,
            (std::vector<std::string>{"message_start", "ping", "content_block_start", "content_block_delta",
                                      "content_block_stop", "content_block_start", "content_block_delta",
                                      "content_block_stop", "content_block_start", "content_block_delta",
                                      "content_block_stop", "message_delta", "message_stop"}));
  EXPECT_EQ(start_event.at("content"), json::array{});
  EXPECT_EQ(start_event.at("stop_reason"), nullptr);
  EXPECT_GT(start_event.at("usage").at("input_tokens").as_int64(), 0);
  EXPECT_EQ(texts[0], "Hm.");
  EXPECT_EQ(texts[1], "I look.");
  EXPECT_EQ(texts[2], R"({"city": "Rome"})");
  EXPECT_EQ(tool_start.at("name"), "get_weather");
  EXPECT_EQ(tool_start.at("input"), json::object{});
  EXPECT_EQ(end_event.at("delta").at("stop_reason"), "tool_use");
  EXPECT_GT(end_event.at("usage").at("output_tokens").as_int64(), 0);
}

TEST_F(MessagesTest, DemandedToolsAreEnforced) {
  start();
  const auto call = [&](std::string_view choice) {
    const HttpReply reply = post(
        kMessages,
        fmt::format(
            R"({{"messages":[{{"role":"user","content":"x"}}],"max_tokens":300,"seed":1,"separate_reasoning":false,
            "tools":[{{"name":"f","input_schema":{{"type":"object","properties":{{"a":{{"const":1}}}},
            "required":["a"],"additionalProperties":false}}}}],"tool_choice":{}}})",
            choice));
    EXPECT_EQ(reply.status, 200) << reply.body;
    return parse(reply.body);
  };
  for (const char* choice :
       {R"({"type":"any","disable_parallel_tool_use":true})", R"({"type":"tool","name":"f"})"}) {
    const json::value answer = call(choice);
    ASSERT_EQ(answer.at("content").as_array().size(), 1u) << json::serialize(answer);
    EXPECT_EQ(answer.at("content").at(0).at("input"), (json::object{{"a", 1}}));
  }
}

TEST_F(MessagesTest, AnOutputFormatIsEnforced) {
  start();
  const auto body = [](std::string_view type) {
    return fmt::format(R"({{"messages":[{{"role":"user","content":"x"}}],"max_tokens":300,"seed":1,
        "separate_reasoning":false,"output_config":{{"format":{{"type":"json_schema","schema":{{"type":"{}",
        "properties":{{"a":{{"const":1}}}},"required":["a"],"additionalProperties":false}}}}}}}})",
                       type);
  };
  const HttpReply reply = post(kMessages, body("object"));
  ASSERT_EQ(reply.status, 200) << reply.body;
  const json::value text = parse(reply.body).at("content").at(0).at("text");
  EXPECT_EQ(parse(std::string(text.as_string())), (json::object{{"a", 1}}));
  expect_anthropic_error(post(kMessages, body("nonsense")), 400, "invalid_request_error");
}

TEST_F(MessagesTest, TokensAreCounted) {
  start();
  const HttpReply counted =
      post(kCount, R"({"model":"fake","messages":[{"role":"user","content":"hello"}]})");
  ASSERT_EQ(counted.status, 200) << counted.body;
  const json::value answer =
      parse(post(kMessages, R"({"messages":[{"role":"user","content":"hello"}],"max_tokens":1})").body);
  const json::object& usage = answer.at("usage").as_object();
  EXPECT_EQ(parse(counted.body),
            (json::object{{"input_tokens", usage.at("input_tokens").as_int64() +
                                               usage.at("cache_creation_input_tokens").as_int64() +
                                               usage.at("cache_read_input_tokens").as_int64()}}));
  expect_anthropic_error(post(kCount, "{}"), 400, "invalid_request_error");
}

TEST_F(MessagesTest, CachedTokensAreReadOrWritten) {
  start();
  const auto usage_of = [&] {
    const json::value usage =
        message("Hello, you who have been here before.", R"("metadata":{})").at("usage");
    return std::array{usage.at("input_tokens").as_int64(), usage.at("cache_creation_input_tokens").as_int64(),
                      usage.at("cache_read_input_tokens").as_int64()};
  };
  const auto [cold_input, cold_written, cold_read] = usage_of();
  const auto [warm_input, warm_written, warm_read] = usage_of();
  EXPECT_GT(cold_written, 0);
  EXPECT_EQ(cold_written % kPageTokens, 0);
  EXPECT_EQ(cold_read, 0);
  EXPECT_EQ(warm_written, 0);
  EXPECT_GT(warm_read, 0);
  EXPECT_EQ(cold_input + cold_written, warm_input + warm_read);
}

TEST_F(MessagesTest, ErrorsHaveAnthropicsShape) {
  start();
  expect_anthropic_error(post(kMessages, "{"), 400, "invalid_request_error");
  expect_anthropic_error(post(kMessages, R"({"messages":[{"role":"user","content":"x"}]})"), 400,
                         "invalid_request_error");
  expect_anthropic_error(post(kMessages, body_of("x", R"("model":"other")")), 404, "not_found_error");
  expect_anthropic_error(get(kMessages), 405, "invalid_request_error");
}

TEST_F(MessagesTest, SoHaveErrorsOfTheTransport) {
  options.http.body_limit = 1000;
  options.http.body_timeout = std::chrono::milliseconds(50);
  options.root_path = "/llm";
  start();
  const std::string too_long(1001, ' ');
  for (const char* path : {kMessages, kCount, "/messages", "/llm/v1/messages"})
    expect_anthropic_error(post(path, too_long), 413, "request_too_large");
  HttpClient chunked(port());
  std::string chunks = "POST /v1/messages HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 3; ++i) chunks += "190\r\n" + std::string(0x190, ' ') + "\r\n";
  chunked.send(chunks);
  expect_anthropic_error(chunked.receive(), 413, "request_too_large");
  HttpClient slow(port());
  slow.send("POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{");
  expect_anthropic_error(slow.receive(), 408, "invalid_request_error");
  expect_anthropic_error(post("/v1/messages/batches", "{}"), 404, "not_found_error");
  expect_anthropic_error(post(kMessages, "{}", "timeout: soon\r\n"), 400, "invalid_request_error");
}

TEST_F(MessagesTest, KeysAreCheckedAndTheErrorHasAnthropicsShape) {
  options.api_keys = {{.key = "secret"}};
  start();
  expect_anthropic_error(post(kMessages, body_of("x", "")), 401, "authentication_error");
  EXPECT_EQ(
      post(kMessages, body_of("x", ""), "X-Api-Key: secret\r\nanthropic-version: 2023-06-01\r\n").status,
      200);
}

json::array messages_of(std::string_view members) {
  const auto request = parse_messages_request(fmt::format(R"({{"max_tokens":5,{}}})", members), kLimits,
                                              MessagesPurpose::generate);
  EXPECT_TRUE(request) << members << ": " << (request ? "" : request.error().message);
  return request ? request->messages : json::array{};
}

TEST(MessagesRequestTest, BlocksBecomeMessages) {
  EXPECT_EQ(messages_of(R"("system":[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}},
              {"type":"text","text":"b"}],"messages":[{"role":"user","content":"c"},
              {"role":"user","content":[{"type":"text","text":"d"}]}])"),
            json::parse(R"([{"role":"system","content":"a\nb"},{"role":"user","content":"c\nd"}])"));
  EXPECT_EQ(
      messages_of(R"("messages":[{"role":"user","content":"w"},
              {"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"s"},
                {"type":"text","text":"x"},{"type":"tool_use","id":"1","name":"f","input":{"a":1}}]},
              {"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":[{"type":"text","text":"r"}]},
                {"type":"text","text":"y"}]}])"),
      json::parse(R"([{"role":"user","content":"w"},{"role":"assistant","content":"x","reasoning_content":"t",
              "tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":{"a":1}}}]},
              {"role":"tool","tool_call_id":"1","content":"r","name":"f"},{"role":"user","content":"y"}])"));
}

TEST(MessagesRequestTest, ALastMessageOfTheAssistantIsGoneOnWith) {
  const auto request = parse_messages_request(
      R"({"max_tokens":5,"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]})",
      kLimits, MessagesPurpose::generate);
  ASSERT_TRUE(request);
  EXPECT_TRUE(request->continue_final_message);
  EXPECT_FALSE(request->add_generation_prompt);
}

TEST(MessagesRequestTest, MistakesAreNamed) {
  const std::pair<const char*, const char*> kBad[] = {
      {R"("messages":[])", "messages"},
      {R"("messages":5)", "messages"},
      {R"("messages":[{"role":"system","content":"x"}])", "messages.0.role"},
      {R"("messages":[{"role":"user"}])", "messages.0.content"},
      {R"("messages":[{"role":"user","content":5}])", "messages.0.content"},
      {R"("messages":[{"role":"user","content":[5]}])", "messages.0.content.0"},
      {R"("messages":[{"role":"user","content":[{"type":"image","source":{}}]}])",
       "messages.0.content.0.type"},
      {R"("messages":[{"role":"user","content":[{"type":"text"}]}])", "messages.0.content.0.text"},
      {R"("messages":[{"role":"user","content":[{"type":"tool_result"}]}])",
       "messages.0.content.0.tool_use_id"},
      {R"("messages":[{"role":"assistant","content":[{"type":"tool_use","id":"1"}]}])",
       "messages.0.content.0.name"},
      {R"("messages":[{"role":"user","content":"x"}],"tools":[{"type":"bash_20250124","name":"bash"}])",
       "tools.0.type"},
      {R"("messages":[{"role":"user","content":"x"}],"tool_choice":{"type":"any"})", "tool_choice"},
      {R"("messages":[{"role":"user","content":"x"}],"thinking":{"type":"x"})", "thinking.type"},
      {R"("messages":[{"role":"user","content":"x"}],"stop_sequences":[""])", "stop_sequences"},
      {R"("messages":[{"role":"user","content":"x"}],"n":2)", "n"},
      {R"("messages":[{"role":"user","content":"x"}],"metadata":5)", "metadata"},
      {R"("messages":[{"role":"user","content":"x"}],"service_tier":"flex")", "service_tier"},
      {R"("messages":[{"role":"user","content":"x"}],"output_config":{"effort":"most"})",
       "output_config.effort"},
      {R"("messages":[{"role":"user","content":"x"}],"system":5)", "system"}};
  for (const auto& [members, param] : kBad) {
    const auto request = parse_messages_request(fmt::format(R"({{"max_tokens":5,{}}})", members), kLimits,
                                                MessagesPurpose::generate);
    ASSERT_FALSE(request) << members;
    EXPECT_EQ(request.error().param, param) << members << ": " << request.error().message;
  }
}

}  // namespace
}  // namespace pagoda::testing
