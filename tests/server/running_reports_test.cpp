// llama.cpp's timings_per_token and return_progress, in the streams of all APIs that have them; and what else
// begins an answer before its first token.
#include <boost/json.hpp>

#include "server/server_fixture.h"
#include "server/sse_events.h"

namespace pagoda::testing {
namespace {

namespace json = boost::json;

constexpr const char* kReports = R"("stream":true,"return_progress":true,"timings_per_token":true)";

class RunningReportsTest : public ServerFixture {
 protected:
  RunningReportsTest() {
    engine_config.max_batch_tokens = 16;
    engine_config.prefill_chunk = 16;
    engine_config.max_sequences = 4;
  }
  std::vector<json::value> events(const std::string& path, const std::string& body) {
    const HttpReply reply = post(path, body);
    EXPECT_EQ(reply.status, 200) << reply.body;
    std::vector<json::value> result;
    for (const SseEvent& event : sse_events(reply))
      if (event.data != "[DONE]") result.push_back(event.data);
    return result;
  }
  // Of the chunks with prompt_progress: counts that rise from what is cached to all, each with timings.
  static void expect_progress(const std::vector<json::value>& events, int64_t cached) {
    int64_t last = -1;
    int64_t total = 0;
    double last_ms = -1;
    for (const json::value& event : events) {
      const json::value* progress = event.as_object().if_contains("prompt_progress");
      if (!progress) continue;
      const int64_t processed = progress->at("processed").as_int64();
      EXPECT_EQ(progress->at("cache"), cached);
      EXPECT_TRUE(last >= 0 || processed == cached) << "told before the first step";
      EXPECT_GT(processed, last);
      EXPECT_GE(progress->at("time_ms").as_int64(), 0);
      const json::value& timings = event.at("timings");
      EXPECT_EQ(timings.at("prompt_n"), processed - cached);
      EXPECT_EQ(timings.at("predicted_n"), 0);
      EXPECT_GE(timings.at("prompt_ms").as_double(), last_ms);
      EXPECT_TRUE(last >= 0 || timings.at("prompt_ms").as_double() == 0.0);
      last = processed;
      last_ms = timings.at("prompt_ms").as_double();
      total = progress->at("total").as_int64();
    }
    EXPECT_GT(total, 32) << "the test needs several steps";
    EXPECT_EQ(last, total);
  }
};

std::string chat_body(std::string_view members) {
  return fmt::format(
      R"({{"messages":[{{"role":"user","content":"{}"}}],"ignore_eos":true,"seed":1,"max_tokens":4,{}}})",
      "a prompt that takes several steps of sixteen tokens each, so that there is progress", members);
}

TEST_F(RunningReportsTest, ChatStreamsTellProgressAndTimings) {
  start();
  const std::vector<json::value> chunks = events("/v1/chat/completions", chat_body(kReports));
  expect_progress(chunks, 0);
  EXPECT_FALSE(chunks.front().as_object().contains("timings")) << "the role comes before anything is known";
  int64_t num_predicted = 0;
  for (const json::value& chunk : chunks) {
    EXPECT_EQ(chunk.at("choices").as_array().size(), 1u);
    const json::value* timings = chunk.as_object().if_contains("timings");
    if (!timings || chunk.as_object().contains("prompt_progress")) continue;
    EXPECT_GE(timings->at("predicted_n").as_int64(), num_predicted);
    num_predicted = timings->at("predicted_n").as_int64();
    EXPECT_GT(timings->at("prompt_per_second").as_double(), 0);
  }
  EXPECT_EQ(num_predicted, 4);

  const std::vector<json::value> again = events("/v1/chat/completions", chat_body(kReports));
  const int64_t prompt_tokens = again[1].at("prompt_progress").at("total").as_int64();
  expect_progress(again, (prompt_tokens - 1) / kPageTokens * kPageTokens);
}

TEST_F(RunningReportsTest, WithoutBeingAskedStreamsTellNeither) {
  start();
  for (const json::value& chunk : events("/v1/chat/completions", chat_body(R"("stream":true)"))) {
    EXPECT_FALSE(chunk.as_object().contains("prompt_progress"));
    EXPECT_FALSE(chunk.as_object().contains("timings"));
  }
}

TEST_F(RunningReportsTest, AnAnswerAsAWholeHasOnlyItsTimings) {
  start();
  const HttpReply reply =
      post("/v1/chat/completions", chat_body(R"("return_progress":true,"timings_per_token":true)"));
  ASSERT_EQ(reply.status, 200) << reply.body;
  EXPECT_TRUE(parse(reply.body).as_object().contains("timings"));
  EXPECT_FALSE(parse(reply.body).as_object().contains("prompt_progress"));
}

TEST_F(RunningReportsTest, CompletionsTellThemOfEachPrompt) {
  start();
  const std::vector<json::value> chunks =
      events("/v1/completions",
             fmt::format(R"({{"prompt":["{0}","{1}"],"max_tokens":2,"ignore_eos":true,"seed":1,{2}}})",
                         std::string(40, 'x'), std::string(50, 'y'), kReports));
  std::vector<int64_t> processed(2, -1);
  std::vector<int64_t> total(2, 0);
  for (const json::value& chunk : chunks) {
    const json::value* progress = chunk.as_object().if_contains("prompt_progress");
    if (!progress) continue;
    EXPECT_EQ(chunk.at("choices").at(0).at("text"), "");
    const auto index = static_cast<size_t>(chunk.at("choices").at(0).at("index").as_int64());
    EXPECT_GT(progress->at("processed").as_int64(), processed.at(index));
    processed.at(index) = progress->at("processed").as_int64();
    total.at(index) = progress->at("total").as_int64();
  }
  EXPECT_EQ(processed, total);
  EXPECT_EQ(total, (std::vector<int64_t>{41, 51})) << "BOS and the text";
  const json::value& timings = chunks.back().at("timings");
  EXPECT_EQ(timings.at("predicted_n"), 4) << "of both prompts";
}

TEST_F(RunningReportsTest, ResponsesTellThemInTheirEvents) {
  start();
  const std::vector<json::value> all = events(
      "/v1/responses", fmt::format(R"({{"input":"{}","max_output_tokens":4,"ignore_eos":true,"seed":1,{}}})",
                                   std::string(60, 'x'), kReports));
  expect_progress(all, 0);
  bool delta_has_timings = false;
  for (const json::value& event : all) {
    if (event.as_object().contains("prompt_progress")) {
      EXPECT_EQ(event.at("type"), "response.in_progress");
      EXPECT_EQ(event.at("response").at("status"), "in_progress");
    }
    if (event.at("type") == "response.output_text.delta")
      delta_has_timings |= event.as_object().contains("timings");
  }
  EXPECT_TRUE(delta_has_timings);
  EXPECT_EQ(all.back().at("timings").at("predicted_n"), 4);
}

TEST_F(RunningReportsTest, WrongTypesAreNamed) {
  start();
  for (const char* name : {"return_progress", "timings_per_token"})
    for (const char* path : {"/v1/chat/completions", "/v1/completions", "/v1/responses"})
      expect_error(post(path, fmt::format(R"({{"messages":[{{"role":"user","content":"a"}}],"prompt":"a",)"
                                          R"("input":"a","{}":1}})",
                                          name)),
                   400, "invalid_request_error", name, "invalid_type");
}

TEST_F(RunningReportsTest, EchoBeginsTheAnswerWithTheLastMessage) {
  start();
  const auto body = [](std::string_view members) {
    return fmt::format(
        R"({{"messages":[{{"role":"user","content":"q"}},{{"role":"assistant","content":"The answer is"}}],)"
        R"("continue_final_message":true,"ignore_eos":true,"seed":1,"max_tokens":4,{}}})",
        members);
  };
  const auto text_of = [&](std::string_view members) {
    const HttpReply reply = post("/v1/chat/completions", body(members));
    EXPECT_EQ(reply.status, 200) << reply.body;
    return std::string(parse(reply.body).at("choices").at(0).at("message").at("content").as_string());
  };
  const std::string plain = text_of(R"("echo":false)");
  EXPECT_EQ(text_of(R"("echo":true)"), "The answer is" + plain);
  std::string streamed;
  for (const json::value& chunk : events("/v1/chat/completions", body(R"("echo":true,"stream":true)")))
    if (const auto* text = chunk.at("choices").at(0).at("delta").as_object().if_contains("content"))
      streamed += text->as_string();
  EXPECT_EQ(streamed, "The answer is" + plain);
  const HttpReply users = post("/v1/chat/completions", chat_body(R"("echo":true)"));
  ASSERT_EQ(users.status, 200) << users.body;
  EXPECT_FALSE(users.body.contains("a prompt")) << "the user's words are not the assistant's";
}

TEST_F(RunningReportsTest, CompletionStreamsTellThePromptsTokensOnce) {
  start();
  const std::vector<json::value> chunks = events(
      "/v1/completions",
      R"({"prompt":[[7,8],[9]],"max_tokens":3,"ignore_eos":true,"stream":true,"return_token_ids":true})");
  std::vector<json::array> told;
  for (const json::value& chunk : chunks)
    if (const auto* ids = chunk.at("choices").at(0).as_object().if_contains("prompt_token_ids"))
      told.push_back(ids->as_array());
  std::ranges::sort(told, {}, &json::array::size);
  EXPECT_EQ(told, (std::vector<json::array>{{9}, {7, 8}}));
}

}  // namespace
}  // namespace pagoda::testing
