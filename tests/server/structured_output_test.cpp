// response_format, structured_outputs and guided_…: how they are read, and what comes out over the fake
// model.
#include <chrono>

#include <boost/json.hpp>

#include "server/openai/chat_request.h"
#include "server/openai/completion_request.h"
#include "server/server_fixture.h"

namespace pagoda::testing {
namespace {

namespace json = boost::json;
using Kind = ConstraintSource::Kind;
using Whitespace = ConstraintSource::Whitespace;

const ModelLimits kLimits{.vocab_size = 100, .max_context = 64, .max_choices = 128};
constexpr const char* kPerson = R"({"type":"object","properties":{"name":{"type":"string","maxLength":4},
  "age":{"type":"integer","minimum":0,"maximum":99},"mood":{"enum":["good","bad"]}},
  "required":["name","age","mood"],"additionalProperties":false})";

std::string chat_body(std::string_view members) {
  return fmt::format(R"({{"messages":[{{"role":"user","content":"hi"}}],"seed":1,"max_tokens":100,{}}})",
                     members);
}
std::string completion_body(std::string_view members) {
  return fmt::format(R"({{"prompt":"hi","seed":1,"max_tokens":100,{}}})", members);
}
std::string json_schema(std::string_view schema) {
  return fmt::format(
      R"("response_format":{{"type":"json_schema","json_schema":{{"name":"x","strict":true,"schema":{}}}}})",
      schema);
}

// Of both kinds of requests.
std::vector<std::optional<StructuredOutput>> outputs(std::string_view members) {
  const auto chat = parse_chat_request(chat_body(members), kLimits);
  const auto completion = parse_completion_request(completion_body(members), kLimits);
  EXPECT_TRUE(chat) << chat.error().message;
  EXPECT_TRUE(completion) << completion.error().message;
  if (!chat || !completion) return {};
  return {chat->generation.structured_output, completion->generation.structured_output};
}

void expect_source(std::string_view members, Kind kind, std::string_view text, std::string_view param,
                   Whitespace whitespace = Whitespace::single_space, std::string_view pattern = "") {
  for (const auto& output : outputs(members)) {
    ASSERT_TRUE(output) << members;
    EXPECT_EQ(output->source.kind, kind);
    EXPECT_EQ(output->source.text, text);
    EXPECT_EQ(output->source.whitespace, whitespace);
    EXPECT_EQ(output->source.whitespace_pattern, pattern);
    EXPECT_EQ(output->param, param);
  }
}

void expect_refusal(std::string_view members, std::string_view param, std::string_view code) {
  const auto chat = parse_chat_request(chat_body(members), kLimits);
  const auto completion = parse_completion_request(completion_body(members), kLimits);
  ASSERT_FALSE(chat) << members;
  ASSERT_FALSE(completion) << members;
  for (const ApiError& error : {chat.error(), completion.error()}) {
    EXPECT_EQ(error.status, 400);
    EXPECT_EQ(error.param, param) << members;
    EXPECT_EQ(error.code, code) << members;
  }
}

TEST(StructuredOutputTest, FreeOutput) {
  for (const char* members : {R"("response_format":{"type":"text"})", R"("response_format":null)",
                              R"("structured_outputs":null,"guided_json":null)", R"("user":"u")"})
    for (const auto& output : outputs(members)) EXPECT_FALSE(output) << members;
}

TEST(StructuredOutputTest, EveryForm) {
  expect_source(R"("response_format":{"type":"json_object"})", Kind::json_schema, R"({"type":"object"})",
                "response_format");
  expect_source(R"("response_format":{"type":"json_object","schema":{"type":"null"}})", Kind::json_schema,
                R"({"type":"null"})", "response_format.schema");
  expect_source(json_schema(R"({"b":1,"a":2})"), Kind::json_schema, R"({"b":1,"a":2})",
                "response_format.json_schema.schema");
  expect_source(R"("structured_outputs":{"json":{"type":"null"}})", Kind::json_schema, R"({"type":"null"})",
                "structured_outputs.json");
  expect_source(R"("structured_outputs":{"json":"{\"type\": 1}"})", Kind::json_schema, R"({"type": 1})",
                "structured_outputs.json");
  expect_source(R"("structured_outputs":{"json_object":true})", Kind::json_schema, R"({"type":"object"})",
                "structured_outputs.json_object");
  expect_source(R"("structured_outputs":{"regex":"a+"})", Kind::regex, "a+", "structured_outputs.regex");
  expect_source(R"("structured_outputs":{"choice":["a","b"]})", Kind::choice, R"(["a","b"])",
                "structured_outputs.choice");
  expect_source(R"("structured_outputs":{"grammar":"start: \"a\"","regex":null})", Kind::grammar,
                "start: \"a\"", "structured_outputs.grammar");
  expect_source(R"("guided_json":{"type":"null"})", Kind::json_schema, R"({"type":"null"})", "guided_json");
  expect_source(R"("guided_regex":"a+")", Kind::regex, "a+", "guided_regex");
  expect_source(R"("guided_choice":["a"])", Kind::choice, R"(["a"])", "guided_choice");
  expect_source(R"("guided_grammar":"root ::= \"a\"")", Kind::grammar, "root ::= \"a\"", "guided_grammar");
}

TEST(StructuredOutputTest, Whitespace) {
  expect_source(R"("structured_outputs":{"json":{},"disable_any_whitespace":true})", Kind::json_schema, "{}",
                "structured_outputs.json", Whitespace::none);
  expect_source(R"("structured_outputs":{"json":{},"whitespace_pattern":" *"})", Kind::json_schema, "{}",
                "structured_outputs.json", Whitespace::single_space, " *");
  expect_source(R"("guided_json":{},"guided_whitespace_pattern":" *")", Kind::json_schema, "{}",
                "guided_json", Whitespace::single_space, " *");
}

TEST(StructuredOutputTest, WrongFormsAreNamed) {
  expect_refusal(R"("response_format":"json")", "response_format", "invalid_type");
  expect_refusal(R"("response_format":{})", "response_format.type", "missing_required_parameter");
  expect_refusal(R"("response_format":{"type":7})", "response_format.type", "invalid_type");
  expect_refusal(R"("response_format":{"type":"xml"})", "response_format.type", "invalid_value");
  expect_refusal(R"("response_format":{"type":"json_schema"})", "response_format.json_schema",
                 "missing_required_parameter");
  expect_refusal(R"("response_format":{"type":"json_schema","json_schema":[]})",
                 "response_format.json_schema", "invalid_type");
  expect_refusal(R"("response_format":{"type":"json_schema","json_schema":{"name":"x"}})",
                 "response_format.json_schema.schema", "missing_required_parameter");
  expect_refusal(R"("response_format":{"type":"json_schema","json_schema":{"name":3,"schema":{}}})",
                 "response_format.json_schema.name", "invalid_type");
  expect_refusal(R"("response_format":{"type":"json_schema","json_schema":{"strict":"yes","schema":{}}})",
                 "response_format.json_schema.strict", "invalid_type");
  expect_refusal(json_schema("[]"), "response_format.json_schema.schema", "invalid_type");
  expect_refusal(R"("structured_outputs":[])", "structured_outputs", "invalid_type");
  expect_refusal(R"("structured_outputs":{})", "structured_outputs", "invalid_value");
  expect_refusal(R"("structured_outputs":{"json_object":false})", "structured_outputs", "invalid_value");
  expect_refusal(R"("structured_outputs":{"json":4})", "structured_outputs.json", "invalid_type");
  expect_refusal(R"("structured_outputs":{"regex":4})", "structured_outputs.regex", "invalid_type");
  expect_refusal(R"("structured_outputs":{"choice":"a"})", "structured_outputs.choice", "invalid_type");
  expect_refusal(R"("structured_outputs":{"choice":["a",1]})", "structured_outputs.choice", "invalid_type");
  expect_refusal(R"("structured_outputs":{"grammar":{}})", "structured_outputs.grammar", "invalid_type");
  expect_refusal(R"("structured_outputs":{"regex":"a","disable_any_whitespace":1})",
                 "structured_outputs.disable_any_whitespace", "invalid_type");
  expect_refusal(R"("structured_outputs":{"structural_tag":"{}"})", "structured_outputs.structural_tag",
                 "unsupported_parameter");
  expect_refusal(R"("guided_choice":{})", "guided_choice", "invalid_type");
}

TEST(StructuredOutputTest, TwoConstraintsExcludeEachOther) {
  expect_refusal(R"("structured_outputs":{"regex":"a","choice":["a"]})", "structured_outputs.choice",
                 "invalid_value");
  expect_refusal(R"("response_format":{"type":"json_object"},"structured_outputs":{"regex":"a"})",
                 "structured_outputs.regex", "invalid_value");
  expect_refusal(R"("response_format":{"type":"json_object"},"guided_json":{})", "guided_json",
                 "invalid_value");
}

class StructuredAnswerTest : public ServerFixture {
 protected:
  std::string chat(std::string_view members) {
    const HttpReply reply = post("/v1/chat/completions", chat_body(members));
    EXPECT_EQ(reply.status, 200) << reply.body;
    const json::value answer = parse(reply.body);
    EXPECT_EQ(answer.at("choices").at(0).at("finish_reason"), "stop");
    return std::string(answer.at("choices").at(0).at("message").at("content").as_string());
  }
  std::string completion(std::string_view members) {
    const HttpReply reply = post("/v1/completions", completion_body(members));
    EXPECT_EQ(reply.status, 200) << reply.body;
    const json::value answer = parse(reply.body);
    EXPECT_EQ(answer.at("choices").at(0).at("finish_reason"), "stop");
    return std::string(answer.at("choices").at(0).at("text").as_string());
  }
  static void expect_person(const std::string& text) {
    const json::value person = parse(text);
    ASSERT_EQ(person.as_object().size(), 3u) << text;
    EXPECT_TRUE(person.at("name").is_string());
    EXPECT_GE(person.at("age").as_int64(), 0);
    EXPECT_LE(person.at("age").as_int64(), 99);
    EXPECT_TRUE(person.at("mood") == "good" || person.at("mood") == "bad") << text;
  }
  void expect_400(std::string_view members, std::string_view param, std::string_view code,
                  std::string_view words) {
    for (const char* path : {"/v1/chat/completions", "/v1/completions"}) {
      const bool is_chat = path == std::string_view("/v1/chat/completions");
      const HttpReply reply = post(path, is_chat ? chat_body(members) : completion_body(members));
      expect_error(reply, 400, "invalid_request_error", param, code);
      EXPECT_NE(reply.body.find(words), std::string::npos) << reply.body;
    }
  }
};

TEST_F(StructuredAnswerTest, AnswersFit) {
  start();
  expect_person(chat(json_schema(kPerson)));
  expect_person(completion(json_schema(kPerson)));
  expect_person(completion(fmt::format(R"("structured_outputs":{{"json":{}}})", kPerson)));
  const std::string choice = chat(R"("structured_outputs":{"choice":["red","green"]})");
  EXPECT_TRUE(choice == "red" || choice == "green") << choice;
  EXPECT_EQ(chat(R"("structured_outputs":{"regex":"(ab){2}c"})"), "ababc");
  EXPECT_EQ(chat(R"("structured_outputs":{"grammar":"root ::= \"x\" y\ny ::= \"z\""})"), "xz");
  EXPECT_EQ(completion(R"("guided_grammar":"start: \"x\" y\ny: \"z\"")"), "xz");
}

TEST_F(StructuredAnswerTest, EveryChoiceAndEveryPromptFits) {
  start();
  const HttpReply reply =
      post("/v1/completions", R"({"prompt":["a","b"],"n":3,"max_tokens":50,"temperature":1.5,
    "structured_outputs":{"regex":"[0-9]{3}"}})");
  ASSERT_EQ(reply.status, 200) << reply.body;
  const json::value answer = parse(reply.body);
  EXPECT_EQ(answer.at("choices").as_array().size(), 6u);
  for (const json::value& choice : answer.at("choices").as_array()) {
    EXPECT_EQ(choice.at("text").as_string().find_first_not_of("0123456789"), json::string::npos);
    EXPECT_EQ(choice.at("text").as_string().size(), 3u);
  }
}

TEST_F(StructuredAnswerTest, StreamsFit) {
  start();
  const HttpReply reply = post("/v1/chat/completions", chat_body(json_schema(kPerson) + R"(,"stream":true)"));
  ASSERT_EQ(reply.status, 200) << reply.body;
  std::string text;
  for (size_t at = reply.body.find("data: {"); at != std::string::npos;
       at = reply.body.find("data: {", at + 1)) {
    const json::value event = parse(reply.body.substr(at + 6, reply.body.find("\n\n", at) - at - 6));
    const json::object& delta = event.at("choices").at(0).at("delta").as_object();
    if (const json::value* content = delta.if_contains("content"); content && content->is_string())
      text += std::string(content->as_string());
  }
  expect_person(text);
}

TEST_F(StructuredAnswerTest, WhatCannotBeCompiledIsA400) {
  start();
  expect_400(json_schema(R"({"not":{}})"), "response_format.json_schema.schema", "unsupported_value",
             "'not'");
  expect_400(json_schema(R"({"type":"colour"})"), "response_format.json_schema.schema", "invalid_value",
             "colour");
  expect_400(json_schema("false"), "response_format.json_schema.schema", "invalid_value", "nsatisfiable");
  expect_400(R"("structured_outputs":{"regex":"(a"})", "structured_outputs.regex", "invalid_value",
             "Invalid");
  expect_400(R"("structured_outputs":{"choice":[]})", "structured_outputs.choice", "invalid_value",
             "choices");
  expect_400(R"("structured_outputs":{"grammar":"root ::= a"})", "structured_outputs.grammar",
             "invalid_value", "'a' is not defined");
  expect_400(R"("structured_outputs":{"json":"{"})", "structured_outputs.json", "invalid_value", "JSON");
  expect_400(fmt::format(R"("structured_outputs":{{"regex":"{}"}})", std::string(300'000, 'a')),
             "structured_outputs.regex", "invalid_value", "bytes");
  EXPECT_TRUE(engine_becomes_idle());
}

}  // namespace
}  // namespace pagoda::testing
