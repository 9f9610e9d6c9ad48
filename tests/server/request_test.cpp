// Bodies of requests -> structs: every parameter as it should be, of a wrong type, and out of range.
#include <gtest/gtest.h>
#include <boost/json.hpp>

#include "server/openai/chat_request.h"
#include "server/openai/completion_request.h"

namespace pagoda {
namespace {

namespace json = boost::json;

const ModelLimits kLimits{.vocab_size = 100, .max_context = 64, .max_choices = 128};

std::string chat_with(std::string_view members) {
  return fmt::format(R"({{"model":"m","messages":[{{"role":"user","content":"hi"}}]{}{}}})",
                     members.empty() ? "" : ",", members);
}
std::string completion_with(std::string_view members) {
  return fmt::format(R"({{"model":"m","prompt":"hi"{}{}}})", members.empty() ? "" : ",", members);
}
ChatRequest chat(std::string_view members) {
  auto request = parse_chat_request(chat_with(members), kLimits);
  EXPECT_TRUE(request) << members << ": " << (request ? "" : request.error().message);
  return request.value_or(ChatRequest{});
}
CompletionRequest completion(std::string_view members) {
  auto request = parse_completion_request(completion_with(members), kLimits);
  EXPECT_TRUE(request) << members << ": " << (request ? "" : request.error().message);
  return request.value_or(CompletionRequest{});
}

TEST(ChatRequestTest, DefaultsAreOpenAis) {
  const ChatRequest request = chat("");
  const Request& engine = request.generation.engine;
  EXPECT_EQ(request.generation.model, "m");
  EXPECT_EQ(engine.sampling.temperature, 1.0f);
  EXPECT_EQ(engine.sampling.top_p, 1.0f);
  EXPECT_EQ(engine.sampling.top_k, 0);
  EXPECT_EQ(engine.sampling.num_logprobs, -1);
  EXPECT_FALSE(engine.sampling.seed);
  EXPECT_EQ(engine.num_sequences, 1);
  EXPECT_FALSE(request.generation.max_tokens);
  EXPECT_FALSE(request.generation.stream);
  EXPECT_TRUE(request.add_generation_prompt);
  EXPECT_TRUE(engine.skip_special_tokens);
}

TEST(ChatRequestTest, TheModelsOwnSamplingHoldsWhereARequestIsSilent) {
  ModelLimits limits = kLimits;
  limits.default_sampling = {.temperature = 0.6f, .top_k = 20, .top_p = 0.9f};
  const auto request = parse_chat_request(chat_with(R"("top_p":0.5)"), limits);
  ASSERT_TRUE(request);
  EXPECT_EQ(request->generation.engine.sampling.temperature, 0.6f);
  EXPECT_EQ(request->generation.engine.sampling.top_k, 20);
  EXPECT_EQ(request->generation.engine.sampling.top_p, 0.5f);
}

TEST(ChatRequestTest, EveryWrongKeyOfLogitBiasIsNamed) {
  const auto error_of = [](const std::string& keys) {
    return parse_chat_request(chat_with(fmt::format(R"("logit_bias":{{{}}})", keys)), kLimits).error();
  };
  const ApiError two = error_of(R"("x":1,"5":1,"100":1,"y":"a")");
  EXPECT_EQ(two.param, "logit_bias");
  EXPECT_EQ(two.message,
            "Invalid 'logit_bias': 'x', '100', 'y' are not token ids of this model (0 to 99): out of "
            "vocabulary.");
  std::string many;
  for (int i = 0; i < 20; ++i) many += fmt::format(R"({}"k{}":1)", i > 0 ? "," : "", i);
  EXPECT_TRUE(error_of(many).message.contains("'k15' and 4 more are not")) << error_of(many).message;
  EXPECT_FALSE(error_of(many).message.contains("'k16'"));
  const std::string long_key = std::string(63, 'a') + "ä";
  EXPECT_TRUE(error_of(fmt::format(R"("{}":1)", long_key)).message.contains("a\xef\xbf\xbd' is not"))
      << "cut, and still UTF-8";
}

TEST(ChatRequestTest, NPredictBoundsWhereMaxTokensDoesNot) {
  EXPECT_EQ(chat(R"("n_predict":7)").generation.default_max_tokens, 7);
  EXPECT_FALSE(chat(R"("n_predict":7)").generation.max_tokens) << "cut, not refused, at the context's end";
  EXPECT_EQ(chat(R"("n_predict":7,"max_tokens":9)").generation.max_tokens, 9);
  EXPECT_EQ(completion(R"("n_predict":-1)").generation.default_max_tokens,
            std::numeric_limits<int64_t>::max());
  EXPECT_EQ(completion("").generation.default_max_tokens, 16);
  EXPECT_EQ(parse_chat_request(chat_with(R"("n_predict":-2)"), kLimits).error().param, "n_predict");
}

TEST(ChatRequestTest, VllmsReasoningIsReasoningContent) {
  const auto messages = [](std::string_view members) {
    return parse_chat_request(
        fmt::format(R"({{"messages":[{{"role":"assistant","content":"a"{}}}]}})", members), kLimits);
  };
  EXPECT_EQ(messages(R"(,"reasoning":"r")")->messages[0].at("reasoning_content"), "r");
  EXPECT_EQ(messages(R"(,"reasoning":"r","reasoning_content":"c")")->messages[0].at("reasoning_content"),
            "c");
  EXPECT_FALSE(messages(R"(,"reasoning":null)")->messages[0].as_object().contains("reasoning_content"));
  EXPECT_EQ(messages(R"(,"reasoning":1)").error().param, "messages[0].reasoning");
}

TEST(ChatRequestTest, EveryParameterArrives) {
  const ChatRequest request = chat(R"(
    "temperature": 0.5, "top_p": 0.25, "top_k": 7, "min_p": 0.125, "presence_penalty": -2, "frequency_penalty": 2,
    "repetition_penalty": 1.5, "seed": -3, "n": 4, "max_tokens": 5, "max_completion_tokens": 9, "min_tokens": 2,
    "priority": 3, "stop": ["a", "bc"], "stop_token_ids": [4, 99], "include_stop_str_in_output": true,
    "ignore_eos": true, "skip_special_tokens": false, "logit_bias": {"5": -100, "17": 1.5}, "logprobs": true,
    "top_logprobs": 3, "stream": true, "stream_options": {"include_usage": true}, "user": "u",
    "chat_template_kwargs": {"thinking": false}, "some_future_field": {"x": [1]}, "temperature2": "x")");
  const GenerationRequest& generation = request.generation;
  const SamplingParams& sampling = generation.engine.sampling;
  EXPECT_EQ(sampling.temperature, 0.5f);
  EXPECT_EQ(sampling.top_p, 0.25f);
  EXPECT_EQ(sampling.top_k, 7);
  EXPECT_EQ(sampling.min_p, 0.125f);
  EXPECT_EQ(sampling.presence_penalty, -2.0f);
  EXPECT_EQ(sampling.frequency_penalty, 2.0f);
  EXPECT_EQ(sampling.repetition_penalty, 1.5f);
  EXPECT_EQ(sampling.seed, static_cast<uint64_t>(int64_t{-3}));
  EXPECT_EQ(sampling.num_logprobs, 3);
  EXPECT_EQ(sampling.logit_bias, (std::vector<std::pair<int32_t, float>>{{5, -100.0f}, {17, 1.5f}}));
  EXPECT_EQ(generation.engine.num_sequences, 4);
  EXPECT_EQ(generation.max_tokens, 9);
  EXPECT_EQ(generation.max_tokens_param, "max_completion_tokens");
  EXPECT_EQ(generation.engine.min_tokens, 2);
  EXPECT_EQ(generation.engine.priority, 3);
  EXPECT_EQ(generation.engine.stop, (std::vector<std::string>{"a", "bc"}));
  EXPECT_EQ(generation.engine.stop_token_ids, (std::vector<int32_t>{4, 99}));
  EXPECT_TRUE(generation.engine.include_stop_in_output);
  EXPECT_TRUE(generation.engine.ignore_eos);
  EXPECT_FALSE(generation.engine.skip_special_tokens);
  EXPECT_TRUE(generation.stream);
  EXPECT_TRUE(generation.include_usage);
  EXPECT_EQ(request.template_kwargs.at("thinking"), false);
}

TEST(ChatRequestTest, NullIsAbsent) {
  const ChatRequest request = chat(R"("temperature": null, "stop": null, "tools": null, "tool_choice": null,
    "max_tokens": null, "logit_bias": null, "stream_options": null, "response_format": null, "seed": null, "n": null,
    "logprobs": null, "top_logprobs": null, "max_completion_tokens": null, "user": null, "stream": null)");
  EXPECT_EQ(request.generation.engine.sampling.temperature, 1.0f);
  EXPECT_EQ(request.generation.max_tokens_param, "max_tokens");
}

TEST(ChatRequestTest, WholeNumbersMayBeWrittenAsDecimals) {
  EXPECT_EQ(chat(R"("max_tokens": 5.0)").generation.max_tokens, 5);
  EXPECT_EQ(chat(R"("temperature": 1)").generation.engine.sampling.temperature, 1.0f);
}

TEST(ChatRequestTest, OneStopMayBeAPlainString) {
  EXPECT_EQ(chat(R"("stop": "end")").generation.engine.stop, std::vector<std::string>{"end"});
}

struct BadMember {
  const char* members;
  const char* param;
  const char* code;
};

void expect_bad(const ApiResult<ChatRequest>& request, const BadMember& bad) {
  ASSERT_FALSE(request) << bad.members;
  EXPECT_EQ(request.error().status, 400) << bad.members;
  EXPECT_EQ(request.error().type, "invalid_request_error") << bad.members;
  EXPECT_EQ(request.error().param, bad.param) << bad.members << ": " << request.error().message;
  EXPECT_EQ(request.error().code, bad.code) << bad.members << ": " << request.error().message;
  EXPECT_NE(request.error().message.find(bad.param), std::string::npos) << request.error().message;
}

TEST(ChatRequestTest, WrongValuesNameTheirParameter) {
  const BadMember kBad[] = {
      {R"("temperature": "hot")", "temperature", "invalid_type"},
      {R"("temperature": -0.1)", "temperature", "decimal_below_min_value"},
      {R"("temperature": 2.1)", "temperature", "decimal_above_max_value"},
      {R"("temperature": 1e999)", "temperature", "decimal_above_max_value"},
      {R"("temperature": true)", "temperature", "invalid_type"},
      {R"("top_p": 0)", "top_p", "decimal_below_min_value"},
      {R"("top_p": 1.01)", "top_p", "decimal_above_max_value"},
      {R"("min_p": -1)", "min_p", "decimal_below_min_value"},
      {R"("top_k": -2)", "top_k", "integer_below_min_value"},
      {R"("top_k": 1.5)", "top_k", "invalid_type"},
      {R"("top_k": 3000000000)", "top_k", "integer_above_max_value"},
      {R"("presence_penalty": 2.5)", "presence_penalty", "decimal_above_max_value"},
      {R"("frequency_penalty": -3)", "frequency_penalty", "decimal_below_min_value"},
      {R"("repetition_penalty": 0)", "repetition_penalty", "decimal_below_min_value"},
      {R"("seed": "1")", "seed", "invalid_type"},
      {R"("seed": 18446744073709551615)", "seed", "integer_above_max_value"},
      {R"("seed": 1e30)", "seed", "invalid_type"},
      {R"("n": 0)", "n", "integer_below_min_value"},
      {R"("n": 129)", "n", "integer_above_max_value"},
      {R"("max_tokens": 0)", "max_tokens", "integer_below_min_value"},
      {R"("max_completion_tokens": -1)", "max_completion_tokens", "integer_below_min_value"},
      {R"("max_tokens": "10")", "max_tokens", "invalid_type"},
      {R"("min_tokens": -1)", "min_tokens", "integer_below_min_value"},
      {R"("stop": 5)", "stop", "invalid_type"},
      {R"("stop": ["a", 5])", "stop[1]", "invalid_type"},
      {R"("stop": "")", "stop", "invalid_value"},
      {R"("stop": ["0","1","2","3","4","5","6","7","8","9","a","b","c","d","e","f","g"])", "stop",
       "array_above_max_length"},
      {R"("stop_token_ids": [100])", "stop_token_ids[0]", "integer_above_max_value"},
      {R"("stop_token_ids": 5)", "stop_token_ids", "invalid_type"},
      {R"("include_stop_str_in_output": 1)", "include_stop_str_in_output", "invalid_type"},
      {R"("ignore_eos": "yes")", "ignore_eos", "invalid_type"},
      {R"("skip_special_tokens": [])", "skip_special_tokens", "invalid_type"},
      {R"("logit_bias": [1])", "logit_bias", "invalid_type"},
      {R"("logit_bias": {"x": 1})", "logit_bias", "invalid_value"},
      {R"("logit_bias": {"100": 1})", "logit_bias", "invalid_value"},
      {R"("logit_bias": {"5": 101})", "logit_bias.5", "decimal_above_max_value"},
      {R"("logit_bias": {"5": "a"})", "logit_bias.5", "invalid_type"},
      {R"("logprobs": 1)", "logprobs", "invalid_type"},
      {R"("top_logprobs": 5)", "top_logprobs", "invalid_value"},
      {R"("logprobs": true, "top_logprobs": 21)", "top_logprobs", "integer_above_max_value"},
      {R"("stream": "true")", "stream", "invalid_type"},
      {R"("stream_options": {"include_usage": true})", "stream_options", "invalid_value"},
      {R"("stream": true, "stream_options": 1)", "stream_options", "invalid_type"},
      {R"("stream": true, "stream_options": {"include_usage": 1})", "stream_options.include_usage",
       "invalid_type"},
      {R"("user": 5)", "user", "invalid_type"},
      {R"("model": 5)", "model", "invalid_type"},
      {R"("priority": "high")", "priority", "invalid_type"},
      {R"("chat_template_kwargs": [])", "chat_template_kwargs", "invalid_type"},
      {R"("add_generation_prompt": "no")", "add_generation_prompt", "invalid_type"},
      {R"("add_generation_prompt": true, "continue_final_message": true)", "continue_final_message",
       "invalid_value"},
      {R"("tools": {})", "tools", "invalid_type"},
      {R"("tools": [5])", "tools[0]", "invalid_type"},
      {R"("tools": [{"type": "web_search"}])", "tools[0].type", "unsupported_value"},
      {R"("tools": [{"type": "function"}])", "tools[0].function", "missing_required_parameter"},
      {R"("tools": [{"type": "function", "function": {}}])", "tools[0].function.name",
       "missing_required_parameter"},
      {R"("tool_choice": "required")", "tool_choice", "invalid_value"},
      {R"("tool_choice": {"type": "function", "function": {"name": "f"}})", "tool_choice", "invalid_value"},
      {R"("tools": [{"type": "function", "function": {"name": "g"}}],
           "tool_choice": {"type": "function", "function": {"name": "f"}})",
       "tool_choice.function.name", "invalid_value"},
      {R"("functions": [])", "functions", "unsupported_parameter"},
  };
  for (const BadMember& bad : kBad) expect_bad(parse_chat_request(chat_with(bad.members), kLimits), bad);
}

TEST(ChatRequestTest, WrongMessagesAreNamedByTheirPath) {
  const BadMember kBad[] = {
      {R"([])", "messages", "empty_array"},
      {R"("hi")", "messages", "invalid_type"},
      {R"([5])", "messages[0]", "invalid_type"},
      {R"([{"content": "a"}])", "messages[0].role", "missing_required_parameter"},
      {R"([{"role": "king", "content": "a"}])", "messages[0].role", "invalid_value"},
      {R"([{"role": 1, "content": "a"}])", "messages[0].role", "invalid_type"},
      {R"([{"role": "user"}])", "messages[0].content", "missing_required_parameter"},
      {R"([{"role": "assistant", "content": null}])", "messages[0].content", "missing_required_parameter"},
      {R"([{"role": "user", "content": 5}])", "messages[0].content", "invalid_type"},
      {R"([{"role": "user", "content": ["a"]}])", "messages[0].content[0]", "invalid_type"},
      {R"([{"role": "user", "content": [{"text": "a"}]}])", "messages[0].content[0].type",
       "missing_required_parameter"},
      {R"([{"role": "user", "content": [{"type": "text"}]}])", "messages[0].content[0].text",
       "missing_required_parameter"},
      {R"([{"role": "user", "content": "a"}, {"role": "user", "content": [{"type": "image_url", "image_url": {}}]}])",
       "messages[1].content[0].type", "unsupported_value"},
      {R"([{"role": "user", "content": [{"type": "smell"}]}])", "messages[0].content[0].type",
       "invalid_value"},
      {R"([{"role": "assistant", "content": null, "tool_calls": 5}])", "messages[0].tool_calls",
       "invalid_type"},
      {R"([{"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}])",
       "messages[0].tool_calls[0].function.arguments", "invalid_value"},
      {R"([{"role": "assistant", "content": null, "tool_calls": [{"function": {"arguments": "{}"}}]}])",
       "messages[0].tool_calls[0].function.name", "missing_required_parameter"},
  };
  for (const BadMember& bad : kBad)
    expect_bad(parse_chat_request(fmt::format(R"({{"messages":{}}})", bad.members), kLimits), bad);
  const auto none = parse_chat_request(R"({"model":"m"})", kLimits);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().param, "messages");
}

TEST(ChatRequestTest, MessagesAreBroughtIntoTheTemplatesForm) {
  const auto request = parse_chat_request(R"({"messages": [
    {"role": "developer", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
    {"role": "assistant", "content": null, "tool_calls": [
      {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"x\": 1}"}},
      {"id": "2", "type": "function", "function": {"name": "g", "arguments": ""}}]},
    {"role": "tool", "tool_call_id": "1", "content": "42"}]})",
                                          kLimits);
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_EQ(request->messages[0], (json::object{{"role", "system"}, {"content", "one\ntwo"}}));
  const json::value& calls = request->messages[1].at("tool_calls");
  EXPECT_EQ(calls.at(0).at("function").at("arguments"), (json::object{{"x", 1}}));
  EXPECT_EQ(calls.at(1).at("function").at("arguments"), json::object{});
  EXPECT_EQ(request->messages[2].at("tool_call_id"), "1");
}

TEST(ChatRequestTest, ToolsAreKeptUnlessTheChoiceIsNone) {
  const char* kTools = R"("tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}])";
  EXPECT_EQ(chat(kTools).tools.tools.size(), 1u);
  const auto rendered = parse_chat_request(chat_with(R"("tools": [])"), kLimits, ChatPurpose::render);
  ASSERT_TRUE(rendered);
  EXPECT_FALSE(rendered->tools.offered());
  EXPECT_TRUE(chat(fmt::format(R"({}, "tool_choice": "auto")", kTools)).tools.offered());
  EXPECT_FALSE(chat(fmt::format(R"({}, "tool_choice": "none")", kTools)).tools.offered());
}

TEST(JsonBodyTest, MalformedTextIsLocated) {
  const auto request = parse_chat_request("{\n  \"messages\": [,]\n}", kLimits);
  ASSERT_FALSE(request);
  EXPECT_EQ(request.error().code, "invalid_json");
  EXPECT_NE(request.error().message.find("line 2, column 16"), std::string::npos) << request.error().message;
}

TEST(JsonBodyTest, BrokenBodiesAreRefused) {
  const std::string deep = R"({"messages":)" + std::string(100, '[') + std::string(100, ']') + "}";
  const std::string kBroken[] = {"",
                                 "{",
                                 "[]",
                                 "5",
                                 "{} x",
                                 "{\"messages\": \"\xff\"}",
                                 "nul",
                                 "{'a': 1}",
                                 "{\"a\": NaN}",
                                 deep,
                                 std::string("{\"a\": \"\x01\"}"),
                                 R"({"a": "\ud800"})"};
  for (const std::string& body : kBroken) {
    const auto request = parse_chat_request(body, kLimits);
    ASSERT_FALSE(request) << body;
    EXPECT_EQ(request.error().status, 400) << body;
    EXPECT_NE(request.error().message.find("JSON"), std::string::npos) << request.error().message;
  }
}

TEST(CompletionRequestTest, PromptsComeInFourForms) {
  const auto prompts = [](const char* prompt) {
    auto request = parse_completion_request(fmt::format(R"({{"prompt":{}}})", prompt), kLimits);
    EXPECT_TRUE(request) << prompt;
    return request ? request->prompts : std::vector<Prompt>{};
  };
  EXPECT_EQ(prompts(R"("text")"), (std::vector<Prompt>{"text"}));
  EXPECT_EQ(prompts(R"(["a", "b"])"), (std::vector<Prompt>{"a", "b"}));
  EXPECT_EQ(prompts("[1, 2, 3]"), (std::vector<Prompt>{std::vector<int32_t>{1, 2, 3}}));
  EXPECT_EQ(prompts("[[1], [2, 3]]"),
            (std::vector<Prompt>{std::vector<int32_t>{1}, std::vector<int32_t>{2, 3}}));
}

TEST(CompletionRequestTest, OwnParametersArrive) {
  const CompletionRequest request =
      completion(R"("echo": true, "logprobs": 4, "n": 2, "best_of": 2, "max_tokens": 0)");
  EXPECT_TRUE(request.echo);
  EXPECT_EQ(request.generation.engine.sampling.num_logprobs, 4);
  EXPECT_TRUE(request.generation.engine.want_prompt_logprobs);
  EXPECT_EQ(request.generation.max_tokens, 0);
  EXPECT_EQ(completion("").generation.default_max_tokens, 16);
}

TEST(CompletionRequestTest, BestOfGeneratesMoreThanItReturns) {
  const CompletionRequest request = completion(R"("n": 2, "best_of": 5, "suffix": "")");
  EXPECT_EQ(request.num_returned, 2);
  EXPECT_EQ(request.generation.engine.num_sequences, 5);
  EXPECT_FALSE(request.wants_logprobs);
  EXPECT_EQ(request.generation.engine.sampling.num_logprobs, 0) << "they decide which are best";
}

TEST(CompletionRequestTest, WrongValuesNameTheirParameter) {
  const BadMember kBad[] = {
      {R"("logprobs": true)", "logprobs", "invalid_type"},
      {R"("logprobs": 21)", "logprobs", "integer_above_max_value"},
      {R"("echo": 1)", "echo", "invalid_type"},
      {R"("max_tokens": 0)", "max_tokens", "integer_below_min_value"},
      {R"("suffix": "x")", "suffix", "unsupported_parameter"},
      {R"("suffix": 1)", "suffix", "invalid_type"},
      {R"("n": 3, "best_of": 2)", "best_of", "integer_below_min_value"},
      {R"("best_of": 2, "stream": true)", "best_of", "invalid_value"},
      {R"("best_of": "2")", "best_of", "invalid_type"},
      {R"("prompt": 5)", "prompt", "invalid_type"},
      {R"("prompt": null)", "prompt", "missing_required_parameter"},
      {R"("prompt": [])", "prompt", "invalid_value"},
      {R"("prompt": [1, 100])", "prompt[1]", "integer_above_max_value"},
      {R"("prompt": [1, "a"])", "prompt[1]", "invalid_type"},
      {R"("prompt": ["a", 1])", "prompt[1]", "invalid_type"},
      {R"("prompt": [[1], [-1]])", "prompt[1][0]", "integer_below_min_value"},
      {R"("prompt": [[1], []])", "prompt[1]", "invalid_value"},
  };
  for (const BadMember& bad : kBad) {
    const auto request = parse_completion_request(completion_with(bad.members), kLimits);
    ASSERT_FALSE(request) << bad.members;
    EXPECT_EQ(request.error().param, bad.param) << request.error().message;
    EXPECT_EQ(request.error().code, bad.code) << request.error().message;
  }
}

TEST(EngineRequestTest, MaxTokensIsCutWhenAbsentAndRefusedWhenTooLarge) {
  GenerationRequest generation;
  const std::vector<int32_t> prompt(60, 1);
  EXPECT_EQ(make_engine_request(generation, prompt, kLimits, "prompt")->max_tokens, 4);
  generation.default_max_tokens = 3;
  EXPECT_EQ(make_engine_request(generation, prompt, kLimits, "prompt")->max_tokens, 3);
  generation.max_tokens = 5;
  const auto refused = make_engine_request(generation, prompt, kLimits, "prompt");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, "context_length_exceeded");
  EXPECT_EQ(refused.error().param, "max_tokens");
}

TEST(EngineRequestTest, AnOverlongPromptIsToldBothNumbers) {
  const auto refused = make_engine_request({}, std::vector<int32_t>(64, 1), kLimits, "messages");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().status, 400);
  EXPECT_EQ(refused.error().code, "context_length_exceeded");
  EXPECT_EQ(refused.error().param, "messages");
  EXPECT_NE(refused.error().message.find("maximum context length is 64 tokens"), std::string::npos);
  EXPECT_NE(refused.error().message.find("your prompt is too large: it has 64 tokens"), std::string::npos);
  GenerationRequest scoring;
  scoring.max_tokens = 0;
  EXPECT_TRUE(make_engine_request(scoring, std::vector<int32_t>(64, 1), kLimits, "prompt"));
}

TEST(EngineRequestTest, MinTokensMustFit) {
  GenerationRequest generation;
  generation.max_tokens = 4;
  generation.engine.min_tokens = 5;
  const auto refused = make_engine_request(generation, {1}, kLimits, "prompt");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().param, "min_tokens");
}

}  // namespace
}  // namespace pagoda
