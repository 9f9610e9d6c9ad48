// The generating endpoints over the fake model: shapes of answers, streams, errors, and clients that leave.
#include <set>
#include <thread>

#include <boost/json.hpp>

#include "server/server_fixture.h"

namespace pagoda::testing {
namespace {

namespace json = boost::json;
using std::chrono::milliseconds;

constexpr const char* kChat = "/v1/chat/completions";
constexpr const char* kCompletions = "/v1/completions";

std::string chat_body(std::string_view members, std::string_view content = "hello") {
  return fmt::format(
      R"({{"model":"fake","messages":[{{"role":"user","content":"{}"}}],"ignore_eos":true,"seed":1,{}}})",
      content, members);
}

class GenerationTest : public ServerFixture {
 protected:
  // The JSON of each event; the stream must end with [DONE].
  static std::vector<json::value> events(const HttpReply& reply) {
    EXPECT_EQ(reply.status, 200) << reply.body;
    EXPECT_EQ(reply.headers.at("content-type"), "text/event-stream; charset=utf-8");
    EXPECT_TRUE(reply.complete);
    std::vector<json::value> result;
    bool done = false;
    for (size_t at = 0; at < reply.body.size();) {
      const size_t end = reply.body.find("\n\n", at);
      const std::string event = reply.body.substr(at, end - at);
      at = end + 2;
      EXPECT_FALSE(done) << "events after [DONE]";
      EXPECT_TRUE(event.starts_with("data: ")) << event;
      done = event == "data: [DONE]";
      if (!done) result.push_back(parse(event.substr(6)));
    }
    EXPECT_TRUE(done) << reply.body;
    return result;
  }
  json::value chat(std::string_view members) {
    const HttpReply reply = post(kChat, chat_body(members));
    EXPECT_EQ(reply.status, 200) << reply.body;
    return parse(reply.body);
  }
  json::value completion(std::string_view body) {
    const HttpReply reply = post(kCompletions, std::string(body));
    EXPECT_EQ(reply.status, 200) << reply.body;
    return parse(reply.body);
  }
};

TEST_F(GenerationTest, AChatAnswerHasOpenAisShape) {
  start();
  const json::value answer = chat(R"("max_tokens":5)");
  EXPECT_TRUE(answer.at("id").as_string().starts_with("chatcmpl-"));
  EXPECT_EQ(answer.at("object"), "chat.completion");
  EXPECT_EQ(answer.at("model"), "fake");
  EXPECT_GT(answer.at("created").as_int64(), 1'600'000'000);
  EXPECT_TRUE(answer.at("system_fingerprint").as_string().starts_with("b"));
  ASSERT_EQ(answer.at("choices").as_array().size(), 1u);
  const json::value& choice = answer.at("choices").at(0);
  EXPECT_EQ(choice.at("index"), 0);
  EXPECT_EQ(choice.at("message").at("role"), "assistant");
  EXPECT_GE(choice.at("message").at("content").as_string().size(), 5u);
  EXPECT_EQ(choice.at("finish_reason"), "length");
  EXPECT_EQ(choice.at("logprobs"), nullptr);
  // <|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n, by the fake tokenizer's longest match
  const size_t prompt_tokens =
      model->engine->tokenizer()
          .encode("<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n", Specials::parse)
          ->size();
  EXPECT_EQ(answer.at("usage"),
            (json::object{{"prompt_tokens", prompt_tokens},
                          {"completion_tokens", 5},
                          {"total_tokens", prompt_tokens + 5},
                          {"prompt_tokens_details",
                           json::object{{"cached_tokens", 0}, {"cache_write_tokens", kPageTokens}}},
                          {"completion_tokens_details", json::object{{"reasoning_tokens", 0}}}}));
}

TEST_F(GenerationTest, AStreamGivesTheSameTextInPieces) {
  start();
  const json::value whole = chat(R"("max_tokens":30)");
  const auto chunks = events(
      post(kChat, chat_body(R"("max_tokens":30,"stream":true,"stream_options":{"include_usage":true})")));
  ASSERT_GT(chunks.size(), 5u);
  EXPECT_EQ(chunks[0].at("choices").at(0).at("delta"),
            (json::object{{"role", "assistant"}, {"content", ""}}));
  std::string text;
  for (size_t i = 0; i < chunks.size(); ++i) {
    EXPECT_EQ(chunks[i].at("object"), "chat.completion.chunk");
    EXPECT_EQ(chunks[i].at("id"), chunks[0].at("id"));
    EXPECT_EQ(chunks[i].at("model"), "fake");
    const bool last = i + 1 == chunks.size();
    EXPECT_EQ(chunks[i].at("choices").as_array().empty(), last);
    EXPECT_EQ(chunks[i].at("usage").is_null(), !last);
    if (last) continue;
    const json::value& choice = chunks[i].at("choices").at(0);
    const bool finishes = i + 2 == chunks.size();
    EXPECT_EQ(choice.at("finish_reason"), finishes ? json::value("length") : json::value(nullptr));
    if (finishes) {
      EXPECT_EQ(choice.at("delta"), json::object{});
    }
    if (const auto* content = choice.at("delta").as_object().if_contains("content"))
      text += content->as_string();
    EXPECT_EQ(choice.at("delta").as_object().contains("role"), i == 0);
  }
  EXPECT_EQ(text, whole.at("choices").at(0).at("message").at("content").as_string());
  json::value usage = chunks.back().at("usage");
  EXPECT_EQ(usage.at("prompt_tokens_details"),
            (json::object{{"cached_tokens", kPageTokens}, {"cache_write_tokens", 0}}))
      << "a page of the first answer's prompt, which that one wrote";
  usage.as_object()["prompt_tokens_details"] = whole.at("usage").at("prompt_tokens_details");
  EXPECT_EQ(usage, whole.at("usage"));
}

TEST_F(GenerationTest, WithoutIncludeUsageNoChunkHasIt) {
  start();
  for (const json::value& chunk : events(post(kChat, chat_body(R"("max_tokens":3,"stream":true)")))) {
    EXPECT_FALSE(chunk.as_object().contains("usage"));
    EXPECT_EQ(chunk.at("choices").as_array().size(), 1u);
  }
}

TEST_F(GenerationTest, SeveralChoices) {
  start();
  const json::value answer = chat(R"("max_tokens":8,"n":3)");
  std::set<std::string> texts;
  ASSERT_EQ(answer.at("choices").as_array().size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(answer.at("choices").at(i).at("index"), i);
    texts.emplace(answer.at("choices").at(i).at("message").at("content").as_string());
  }
  EXPECT_EQ(texts.size(), 3u) << "choices must differ";
  EXPECT_EQ(answer.at("usage").at("completion_tokens"), 24);

  std::string streamed[3];
  for (const json::value& chunk : events(post(kChat, chat_body(R"("max_tokens":8,"n":3,"stream":true)")))) {
    const json::value& choice = chunk.at("choices").at(0);
    if (const auto* content = choice.at("delta").as_object().if_contains("content"))
      streamed[choice.at("index").as_int64()] += content->as_string();
  }
  for (size_t i = 0; i < 3; ++i)
    EXPECT_EQ(streamed[i], answer.at("choices").at(i).at("message").at("content").as_string());
}

TEST_F(GenerationTest, ChatLogprobsFollowTheTokens) {
  start();
  const json::value answer = chat(R"("max_tokens":6,"logprobs":true,"top_logprobs":2)");
  const json::array& content = answer.at("choices").at(0).at("logprobs").at("content").as_array();
  ASSERT_EQ(content.size(), 6u);
  for (const json::value& entry : content) {
    EXPECT_LE(entry.at("logprob").to_number<double>(), 0.0);
    EXPECT_FALSE(entry.at("bytes").as_array().empty());
    ASSERT_EQ(entry.at("top_logprobs").as_array().size(), 2u);
    EXPECT_GE(entry.at("top_logprobs").at(0).at("logprob").to_number<double>(),
              entry.at("top_logprobs").at(1).at("logprob").to_number<double>());
  }
  json::array streamed;
  for (const json::value& chunk :
       events(post(kChat, chat_body(R"("max_tokens":6,"logprobs":true,"top_logprobs":2,"stream":true)"))))
    if (const json::value& logprobs = chunk.at("choices").at(0).at("logprobs"); !logprobs.is_null())
      for (const json::value& entry : logprobs.at("content").as_array()) streamed.push_back(entry);
  EXPECT_EQ(streamed, content);
}

TEST_F(GenerationTest, StopsAreToldWithTheirReason) {
  start();
  const json::value whole = chat(R"("max_tokens":12)");
  const std::string text(whole.at("choices").at(0).at("message").at("content").as_string());
  std::string stop;
  for (size_t i = 4; i + 2 < text.size() && stop.empty(); ++i)
    if (const std::string pair = text.substr(i, 2);
        text.find(pair) == i && std::ranges::all_of(pair, [](char c) { return c >= 'a' && c <= 'z'; }))
      stop = pair;
  ASSERT_FALSE(stop.empty()) << text;
  const json::value cut = chat(fmt::format(R"("max_tokens":12,"stop":["{}"])", stop));
  EXPECT_EQ(cut.at("choices").at(0).at("finish_reason"), "stop");
  EXPECT_EQ(cut.at("choices").at(0).at("stop_reason"), json::value(stop));
  EXPECT_EQ(std::string(cut.at("choices").at(0).at("message").at("content").as_string()),
            text.substr(0, text.find(stop)));
  const json::value shown =
      chat(fmt::format(R"("max_tokens":12,"stop":"{}","include_stop_str_in_output":true)", stop));
  EXPECT_EQ(std::string(shown.at("choices").at(0).at("message").at("content").as_string()),
            text.substr(0, text.find(stop) + 2));
}

TEST_F(GenerationTest, AStopTokenIsNoTextButHasALogprob) {
  start();
  const json::value answer = completion(
      R"({"prompt":"ab","max_tokens":9,"logit_bias":{"50":100},"temperature":0,"stop_token_ids":[50],"logprobs":1})");
  const json::value& choice = answer.at("choices").at(0);
  EXPECT_EQ(choice.at("finish_reason"), "stop");
  EXPECT_EQ(choice.at("stop_reason"), 50);
  EXPECT_EQ(choice.at("text"), "");
  EXPECT_EQ(choice.at("logprobs").at("tokens"), json::array{"/"});
  EXPECT_EQ(choice.at("logprobs").at("text_offset"), json::array{0});
  EXPECT_EQ(answer.at("usage").at("completion_tokens"), 1);
}

TEST_F(GenerationTest, ACompletionHasOpenAisShape) {
  start();
  const json::value answer =
      completion(R"({"prompt":"ab","max_tokens":4,"ignore_eos":true,"logprobs":2,"seed":3})");
  EXPECT_TRUE(answer.at("id").as_string().starts_with("cmpl-"));
  EXPECT_EQ(answer.at("object"), "text_completion");
  const json::value& choice = answer.at("choices").at(0);
  EXPECT_EQ(choice.at("finish_reason"), "length");
  for (const char* list : {"tokens", "token_logprobs", "top_logprobs", "text_offset"})
    EXPECT_EQ(choice.at("logprobs").at(list).as_array().size(), 4u) << list;
  EXPECT_EQ(choice.at("logprobs").at("text_offset").at(0), 0);
  EXPECT_EQ(answer.at("usage").at("prompt_tokens"), 2) << "BOS and 'ab'";
}

TEST_F(GenerationTest, ManyPromptsAreNumberedInOrder) {
  start();
  const char* kMembers = R"("max_tokens":6,"ignore_eos":true,"n":2,"seed":5)";
  const json::value both = completion(fmt::format(R"({{"prompt":["ab",[7,8,9]],{}}})", kMembers));
  const json::value first = completion(fmt::format(R"({{"prompt":"ab",{}}})", kMembers));
  const json::value second = completion(fmt::format(R"({{"prompt":[7,8,9],{}}})", kMembers));
  ASSERT_EQ(both.at("choices").as_array().size(), 4u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(both.at("choices").at(i).at("text"), first.at("choices").at(i).at("text"));
    EXPECT_EQ(both.at("choices").at(2 + i).at("text"), second.at("choices").at(i).at("text"));
    EXPECT_EQ(both.at("choices").at(2 + i).at("index"), 2 + i);
  }
  EXPECT_EQ(both.at("usage").at("prompt_tokens"), 5);
}

TEST_F(GenerationTest, EchoBeginsWithThePrompt) {
  start();
  const json::value plain = completion(R"({"prompt":"xyz","max_tokens":4,"ignore_eos":true,"seed":1})");
  const json::value echoed =
      completion(R"({"prompt":"xyz","max_tokens":4,"ignore_eos":true,"seed":1,"echo":true})");
  EXPECT_EQ(std::string(echoed.at("choices").at(0).at("text").as_string()),
            "xyz" + std::string(plain.at("choices").at(0).at("text").as_string()));
  std::string streamed;
  for (const json::value& chunk : events(
           post(kCompletions,
                R"({"prompt":"xyz","max_tokens":4,"ignore_eos":true,"seed":1,"echo":true,"stream":true})")))
    streamed += chunk.at("choices").at(0).at("text").as_string();
  EXPECT_EQ(streamed, echoed.at("choices").at(0).at("text").as_string());
}

TEST_F(GenerationTest, EchoWithLogprobsScoresThePrompt) {
  start();
  for (const char* stream : {"false", "true"}) {
    const std::string body =
        fmt::format(R"({{"prompt":[60,61,62],"max_tokens":0,"logprobs":1,"echo":true,"stream":{}}})", stream);
    const HttpReply reply = post(kCompletions, body);
    const json::value answer = stream == std::string_view("true") ? events(reply).at(0) : parse(reply.body);
    const json::value& logprobs = answer.at("choices").at(0).at("logprobs");
    ASSERT_EQ(logprobs.at("tokens").as_array().size(), 3u) << json::serialize(answer);
    EXPECT_EQ(logprobs.at("token_logprobs").at(0), nullptr);
    EXPECT_LT(logprobs.at("token_logprobs").at(1).to_number<double>(), 0.0);
    EXPECT_EQ(logprobs.at("text_offset"), (json::array{0, 1, 2}));
  }
}

TEST_F(GenerationTest, ToolsReachTheTemplate) {
  start();
  const char* kTools = R"("tools":[{"type":"function","function":{"name":"lookup"}}],"max_tokens":1)";
  const auto prompt_tokens = [&](std::string_view members) {
    return chat(members).at("usage").at("prompt_tokens").as_int64();
  };
  const int64_t plain = prompt_tokens(R"("max_tokens":1)");
  EXPECT_GT(prompt_tokens(kTools), plain + 20);
  EXPECT_EQ(prompt_tokens(fmt::format(R"({},"tool_choice":"none")", kTools)), plain);
}

TEST_F(GenerationTest, ClientsCannotForgeControlTokens) {
  start();
  const auto prompt_tokens = [&](std::string_view content) {
    return parse(post(kChat, chat_body(R"("max_tokens":1)", content)).body)
        .at("usage")
        .at("prompt_tokens")
        .as_int64();
  };
  EXPECT_EQ(prompt_tokens("<|im_end|>") - prompt_tokens(""),
            std::ssize(*model->engine->tokenizer().encode("<|im_end|>", Specials::as_text)));
}

TEST_F(GenerationTest, TheFinalMessageCanBeContinued) {
  start();
  const auto body = [](const char* content) {
    return fmt::format(
        R"({{"messages":[{{"role":"user","content":"q"}},{{"role":"assistant","content":"{}"}}],
                           "continue_final_message":true,"max_tokens":1}})",
        content);
  };
  const json::value answer = parse(post(kChat, body("so far ")).body);
  const auto expected = model->engine->tokenizer().encode(
      "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\nso far ", Specials::parse);
  EXPECT_EQ(answer.at("usage").at("prompt_tokens"), expected->size());
  expect_error(post(kChat, body("")), 400, "invalid_request_error", "continue_final_message",
               "invalid_value");
}

TEST_F(GenerationTest, RefusalsHaveTheirStatus) {
  start();
  expect_error(post(kChat, "{"), 400, "invalid_request_error", "", "invalid_json");
  expect_error(post(kChat, chat_body(R"("temperature":3)")), 400, "invalid_request_error", "temperature",
               "decimal_above_max_value");
  expect_error(post(kChat, R"({"model":"gpt","messages":[{"role":"user","content":"a"}]})"), 404,
               "invalid_request_error", "model", "model_not_found");
  expect_error(post(kChat, chat_body(R"("max_tokens":1)", std::string(2100, '.'))), 400,
               "invalid_request_error", "messages", "context_length_exceeded");
  expect_error(post(kChat, chat_body(R"("max_tokens":2048,"stream":true)")), 400, "invalid_request_error",
               "max_tokens", "context_length_exceeded");
  expect_error(post(kCompletions, R"({"prompt":"a","n":65})"), 400, "invalid_request_error", "n",
               "integer_above_max_value");
}

TEST_F(GenerationTest, ASmallKvCacheBoundsTheContext) {
  engine_config.num_pages = 8;
  engine_config.max_sequences = 8;
  start();
  const HttpReply reply = post(kChat, chat_body(R"("max_tokens":1)", std::string(200, '.')));
  expect_error(reply, 400, "invalid_request_error", "messages", "context_length_exceeded");
  EXPECT_NE(reply.body.find("128 tokens"), std::string::npos) << reply.body;
  expect_error(post(kChat, chat_body(R"("max_completion_tokens":128)")), 400, "invalid_request_error",
               "max_completion_tokens", "context_length_exceeded");
  const std::string prompt(200, '.');
  expect_error(post(kCompletions, fmt::format(R"({{"prompt":"{}"}})", prompt)), 400, "invalid_request_error",
               "prompt", "context_length_exceeded");
}

TEST_F(GenerationTest, WhileLoadingOnlyTheApiWaits) {
  start_without_model();
  EXPECT_EQ(get("/health").status, 200);
  EXPECT_EQ(get("/metrics").status, 200);
  expect_error(get("/ready"), 503, "server_error", "", "model_loading");
  const HttpReply reply = post(kChat, chat_body(R"("max_tokens":1)"));
  expect_error(reply, 503, "server_error", "", "model_loading");
  EXPECT_EQ(reply.headers.at("retry-after"), "5");
  set_model();
  EXPECT_EQ(get("/ready").status, 200);
  EXPECT_EQ(chat(R"("max_tokens":1)").at("object"), "chat.completion");
}

TEST_F(GenerationTest, AModelThatBreaksGivesAnErrorNotAText) {
  poison_token = 50;
  start();
  const char* kPoisoned = R"("prompt":[60],"logit_bias":{"50":100},"temperature":0,"max_tokens":5)";
  expect_error(post(kCompletions, fmt::format("{{{}}}", kPoisoned)), 500, "server_error", "",
               "internal_error");
  step_time = milliseconds(5);
  const HttpReply reply = post(kCompletions, fmt::format(R"({{{},"stream":true}})", kPoisoned));
  if (reply.status == 200) {
    EXPECT_EQ(events(reply).back().at("error").at("type"), "server_error");
  } else {
    expect_error(reply, 500, "server_error", "", "internal_error");
  }
  EXPECT_TRUE(engine_becomes_idle());
}

TEST_F(GenerationTest, AStreamThatBreaksBeforeItsFirstTokenHasAnHonestStatus) {
  poison_token = 50;
  start();
  gate.close();
  std::thread opener([this] {
    std::this_thread::sleep_for(milliseconds(50));
    gate.open();
  });
  const HttpReply reply =
      post(kCompletions, R"({"prompt":[50],"temperature":0,"max_tokens":5,"stream":true})");
  opener.join();
  expect_error(reply, 500, "server_error", "", "internal_error");
}

TEST_F(GenerationTest, AFullQueueAnswers429) {
  engine_config.max_sequences = 1;
  engine_config.max_queued_requests = 1;
  options.num_workers = 1;
  start();
  gate.close();
  HttpClient running(port());
  HttpClient queued(port());
  const std::string request =
      post_request(kCompletions, R"({"prompt":"ab","max_tokens":2,"ignore_eos":true})");
  running.send(request);
  queued.send(request);
  // One worker takes requests in the order in which they came.
  const HttpReply refused = post(kCompletions, R"({"prompt":"c","max_tokens":1})");
  expect_error(refused, 429, "rate_limit_error", "", "rate_limit_exceeded");
  EXPECT_GE(std::atoi(refused.headers.at("retry-after").c_str()), 1);
  gate.open();
  EXPECT_EQ(running.receive().status, 200);
  EXPECT_EQ(queued.receive().status, 200);
  EXPECT_GE(metric("vllm:admission_rejections_total{"), 1);
}

TEST_F(GenerationTest, ControlRoutesAnswerWhileTheEngineStands) {
  start();
  gate.close();
  HttpClient client(port());
  client.send(post_request(kCompletions, R"({"prompt":"ab","max_tokens":2})"));
  for (const char* path : {"/health", "/ready", "/metrics", "/v1/models"})
    EXPECT_EQ(get(path).status, 200) << path;
  gate.open();
  EXPECT_EQ(client.receive().status, 200);
}

class VanishTest : public GenerationTest {
 protected:
  static std::string endless(const char* stream) {
    return fmt::format(R"({{"prompt":"ab","max_tokens":2000,"ignore_eos":true,"stream":{}}})", stream);
  }
};

TEST_F(VanishTest, WhileStreaming) {
  step_time = milliseconds(1);
  start();
  HttpClient client(port());
  client.send(post_request(kCompletions, endless("true")));
  ASSERT_TRUE(client.receive_until("data: "));
  EXPECT_GT(model->engine->stats().kv_pages_used, 0);
  client.close();
  EXPECT_TRUE(engine_becomes_idle());
  EXPECT_EQ(metric("vllm:request_success_total{engine=\"0\",model_name=\"fake\",finished_reason=\"abort\"}"),
            1);
  EXPECT_EQ(metric("vllm:kv_cache_usage_perc{"), 0);
}

TEST_F(VanishTest, WhileAWholeAnswerIsMade) {
  step_time = milliseconds(1);
  start();
  HttpClient client(port());
  client.send(post_request(kCompletions, endless("false")));
  ASSERT_TRUE(eventually([&] { return model->engine->stats().num_running == 1; }));
  client.close();
  EXPECT_TRUE(engine_becomes_idle());
  EXPECT_EQ(model->engine->stats().finished_abort, 1u) << "it was computed to the end";
}

TEST_F(VanishTest, WhileQueued) {
  engine_config.max_sequences = 1;
  step_time = milliseconds(1);
  start();
  HttpClient running(port());
  running.send(post_request(kCompletions, R"({"prompt":"ab","max_tokens":1500,"ignore_eos":true})"));
  ASSERT_TRUE(eventually([&] { return model->engine->stats().num_running == 1; }));
  HttpClient queued(port());
  queued.send(post_request(kCompletions, endless("true")));
  ASSERT_TRUE(eventually([&] { return model->engine->stats().num_waiting == 1; }));
  queued.close();
  ASSERT_TRUE(eventually([&] { return model->engine->stats().num_waiting == 0; }));
  EXPECT_EQ(model->engine->stats().num_running, 1) << "the other goes on";
  EXPECT_EQ(running.receive().status, 200);
  EXPECT_TRUE(engine_becomes_idle());
  EXPECT_EQ(model->engine->stats().generation_tokens, 1500u);
}

TEST_F(VanishTest, ByNotReading) {
  options.http.write_timeout = milliseconds(200);
  step_time = milliseconds(1);
  start();
  HttpClient client(port(), 4 << 10);
  client.send(post_request(
      kCompletions, R"({"prompt":"ab","max_tokens":2000,"ignore_eos":true,"stream":true,"logprobs":20})"));
  ASSERT_TRUE(eventually([&] { return model->engine->stats().finished_abort == 1; }));
  EXPECT_TRUE(engine_becomes_idle());
}

TEST_F(VanishTest, AReaderThatPausesIsParkedAndMissesNothing) {
  step_time = milliseconds(1);
  start();
  const std::string body =
      R"({"prompt":"ab","max_tokens":1000,"seed":3,"ignore_eos":true,"stream":true,"logprobs":5})";
  const auto choices_of = [](const HttpReply& reply) {
    std::string choices;
    for (const json::value& event : events(reply)) choices += json::serialize(event.at("choices"));
    return choices;
  };
  HttpClient quick(port());
  const HttpReply unhindered = quick.post(kCompletions, body);
  const std::string whole = choices_of(unhindered);
  HttpClient client(port(), 4 << 10);
  client.send(post_request(kCompletions, body));
  ASSERT_TRUE(eventually([&] { return model->engine->stats().num_parked == 1; }));
  const EngineStats parked = model->engine->stats();
  EXPECT_EQ(parked.kv_pages_used, 0) << "others could use its pages";
  EXPECT_EQ(parked.num_running, 0);
  EXPECT_LT((parked.generation_tokens - 1000) * unhindered.body.size() / 1000, size_t{96} << 10)
      << "far less than the socket's buffer could take";
  EXPECT_EQ(metric("vllm:num_requests_waiting_by_reason{engine=\"0\",model_name=\"fake\",reason=\"parked\"}"),
            1);
  EXPECT_EQ(choices_of(client.receive()), whole);
  EXPECT_TRUE(engine_becomes_idle());
}

TEST_F(VanishTest, AParkedStreamThatIsNeverReadIsCancelled) {
  options.http.write_timeout = milliseconds(2000);
  start();
  HttpClient client(port(), 4 << 10);
  client.send(post_request(
      kCompletions,
      R"({"prompt":"ab","max_tokens":1500,"n":16,"ignore_eos":true,"stream":true,"logprobs":20})"));
  ASSERT_TRUE(eventually([&] { return model->engine->stats().num_parked == 16; }));
  ASSERT_TRUE(eventually([&] { return model->engine->stats().finished_abort == 16; }));
  EXPECT_TRUE(engine_becomes_idle());
}

TEST_F(VanishTest, AReaderAtATrickleIsCancelledAfterTheStallTimeout) {
  options.http.stall_timeout = milliseconds(1000);
  start();
  HttpClient client(port(), 4 << 10);
  client.send(post_request(
      kCompletions, R"({"prompt":"ab","max_tokens":1900,"ignore_eos":true,"stream":true,"logprobs":20})"));
  ASSERT_TRUE(eventually([&] { return model->engine->stats().num_parked == 1; }));
  int num_reads = 0;
  ASSERT_TRUE(eventually([&] {
    num_reads += client.receive_some() ? 1 : 0;
    return model->engine->stats().finished_abort == 1;
  }));
  EXPECT_GE(num_reads, 3) << "it read all the while";
  EXPECT_TRUE(engine_becomes_idle());
}

class DrainTest : public GenerationTest {};

TEST_F(DrainTest, RunningStreamsFinishAndNewRequestsAreRefused) {
  step_time = milliseconds(2);
  start();
  HttpClient stream(port());
  stream.send(
      post_request(kCompletions, R"({"prompt":"ab","max_tokens":100,"ignore_eos":true,"stream":true})"));
  ASSERT_TRUE(stream.receive_until("data: "));
  HttpClient idle(port());
  EXPECT_EQ(idle.get("/health").status, 200);
  server->stop();
  const HttpReply reply = stream.receive();
  EXPECT_EQ(events(reply).back().at("choices").at(0).at("finish_reason"), "length");
  runner.join();
  EXPECT_TRUE(idle.closed_by_peer());
  EXPECT_EQ(HttpClient(port()).get("/health").status, 0) << "the port is closed";
}

TEST_F(DrainTest, AfterTheTimeoutStreamsEndWithAnError) {
  step_time = milliseconds(2);
  options.drain_timeout = milliseconds(50);
  start();
  HttpClient stream(port());
  stream.send(
      post_request(kCompletions, R"({"prompt":"ab","max_tokens":2000,"ignore_eos":true,"stream":true})"));
  ASSERT_TRUE(stream.receive_until("data: "));
  stop_and_wait();
  EXPECT_EQ(events(stream.receive()).back().at("error").at("code"), "shutting_down");
  EXPECT_EQ(model->engine->stats().kv_pages_used, 0);
}

TEST_F(DrainTest, WithNothingToDoItEndsAtOnce) {
  start();
  options.drain_timeout = std::chrono::hours(1);
  stop_and_wait();
}

}  // namespace
}  // namespace pagoda::testing
