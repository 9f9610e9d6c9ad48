// Parameters beside OpenAI's core: parsed, refused by name, and what they change in answers.
#include <gtest/gtest.h>
#include <boost/json.hpp>

#include "server/openai/chat_request.h"
#include "server/openai/completion_request.h"
#include "server/openai/unread_fields.h"
#include "server/server_fixture.h"

namespace pagoda::testing {
namespace {

namespace json = boost::json;

const ModelLimits kLimits{.vocab_size = 100, .max_context = 64, .max_choices = 128};

ApiResult<CompletionRequest> parse_with(std::string_view members) {
  return parse_completion_request(fmt::format(R"({{"prompt":"hi",{}}})", members), kLimits);
}

TEST(ParametersTest, Arrive) {
  const auto request = parse_with(R"("prompt_logprobs": 3, "cache_salt": "tenant", "bad_words": ["a", "b c"],
    "allowed_token_ids": [7, 3, 7], "logprobs": 1, "logprob_token_ids": [9, 2, 9], "truncate_prompt_tokens": -1, "add_special_tokens": false,
    "return_token_ids": true, "return_tokens_as_token_ids": true, "metadata": {"a": "b"}, "store": true,
    "service_tier": "flex", "user": "u", "spaces_between_special_tokens": false, "max_tokens": 0)");
  ASSERT_TRUE(request) << request.error().message;
  const GenerationRequest& generation = request->generation;
  EXPECT_TRUE(generation.engine.want_prompt_logprobs);
  EXPECT_EQ(generation.engine.num_prompt_logprobs, 3);
  EXPECT_EQ(generation.engine.cache_salt, "tenant");
  EXPECT_EQ(generation.bad_words, (std::vector<std::string>{"a", "b c"}));
  EXPECT_EQ(generation.engine.sampling.allowed_tokens, (std::vector<int32_t>{3, 7}));
  EXPECT_EQ(generation.engine.sampling.logprob_tokens, (std::vector<int32_t>{2, 9}));
  EXPECT_EQ(generation.truncate_prompt, -1);
  EXPECT_EQ(generation.add_special_tokens, false);
  EXPECT_TRUE(generation.return_token_ids);
  EXPECT_TRUE(generation.tokens_as_ids);
  EXPECT_TRUE(generation.unread_fields.empty());
}

TEST(ParametersTest, WrongValuesNameTheirParameter) {
  const std::tuple<std::string, const char*, const char*> kBad[] = {
      {R"("prompt_logprobs": -1)", "prompt_logprobs", "integer_below_min_value"},
      {R"("prompt_logprobs": 1, "stream": true)", "prompt_logprobs", "invalid_value"},
      {R"("cache_salt": "")", "cache_salt", "invalid_value"},
      {R"("cache_salt": 5)", "cache_salt", "invalid_type"},
      {fmt::format(R"("cache_salt": "{}")", std::string(1025, 'x')), "cache_salt", "invalid_value"},
      {R"("bad_words": "x")", "bad_words", "invalid_type"},
      {R"("bad_words": [""])", "bad_words[0]", "invalid_value"},
      {R"("allowed_token_ids": [])", "allowed_token_ids", "empty_array"},
      {R"("allowed_token_ids": [100])", "allowed_token_ids[0]", "integer_above_max_value"},
      {R"("logprobs": 0, "logprob_token_ids": [100])", "logprob_token_ids[0]", "integer_above_max_value"},
      {R"("logprob_token_ids": [5])", "logprob_token_ids", "invalid_value"},
      {R"("truncate_prompt_tokens": 0)", "truncate_prompt_tokens", "invalid_value"},
      {R"("truncate_prompt_tokens": -2)", "truncate_prompt_tokens", "integer_below_min_value"},
      {R"("add_special_tokens": "yes")", "add_special_tokens", "invalid_type"},
      {R"("seed": 18446744073709551615)", "seed", "integer_above_max_value"},
      {R"("seed": 1e40)", "seed", "invalid_type"},
      {R"("temperature": 1e400)", "temperature", "decimal_above_max_value"},
      {R"("frequency_penalty": -1e400)", "frequency_penalty", "decimal_below_min_value"},
      {R"("metadata": {"a": 5})", "metadata.a", "invalid_type"},
      {R"("metadata": [])", "metadata", "invalid_type"},
      {R"("store": 1)", "store", "invalid_type"},
      {R"("service_tier": "gold")", "service_tier", "invalid_value"},
      {R"("user": 1)", "user", "invalid_type"},
      {R"("use_beam_search": true)", "use_beam_search", "unsupported_parameter"},
      {R"("stream": true, "stream_options": {"continuous_usage_stats": 1})",
       "stream_options.continuous_usage_stats", "invalid_type"},
  };
  for (const auto& [members, param, code] : kBad) {
    const auto request = parse_with(members);
    ASSERT_FALSE(request) << members;
    EXPECT_EQ(request.error().param, param) << request.error().message;
    EXPECT_EQ(request.error().code, code) << request.error().message;
  }
}

TEST(ParametersTest, TruncationKeepsTheEndOfThePrompt) {
  std::vector<int32_t> prompt(100);
  for (int32_t i = 0; i < 100; ++i) prompt[static_cast<size_t>(i)] = i;
  GenerationRequest generation = parse_with(R"("truncate_prompt_tokens": 5)")->generation;
  EXPECT_EQ(make_engine_request(generation, prompt, kLimits, "prompt")->prompt,
            (std::vector<int32_t>{95, 96, 97, 98, 99}));
  generation = parse_with(R"("truncate_prompt_tokens": -1, "max_tokens": 10)")->generation;
  EXPECT_EQ(make_engine_request(generation, prompt, kLimits, "prompt")->prompt.size(), 54u);
}

TEST(ParametersTest, UnreadFieldsAreNamed) {
  const auto request = parse_with(R"("typical_p": 0.5, "my_field": null, "stop": null)");
  ASSERT_TRUE(request);
  EXPECT_EQ(request->generation.unread_fields, (std::vector<std::string>{"typical_p", "my_field"}));
}

TEST(ParametersTest, UnreadFieldsCannotMakeLabels) {
  UnreadFieldCounter counter;
  std::vector<std::string> names = {"typical_p", "adaptive_target", "xtc_threshold"};
  for (int i = 0; i < 1000; ++i) names.push_back(fmt::format("junk{}\n\"", i));
  counter.count(names, "id");
  const std::string text = counter.metrics_text();
  EXPECT_NE(text.find("pagoda_unknown_request_fields_total{field=\"typical_p\"} 1\n"), std::string::npos);
  EXPECT_NE(text.find("pagoda_unknown_request_fields_total{field=\"other\"} 1000\n"), std::string::npos);
  EXPECT_EQ(text.find("junk"), std::string::npos);
}

class ParametersServerTest : public ServerFixture {
 protected:
  json::value answer(const std::string& path, const std::string& body) {
    const HttpReply reply = post(path, body);
    EXPECT_EQ(reply.status, 200) << reply.body;
    return parse(reply.body);
  }
  json::value complete(std::string_view members) {
    return answer(
        "/v1/completions",
        fmt::format(R"({{"prompt":"hello world","seed":1,"ignore_eos":true,"max_tokens":4,{}}})", members));
  }
  std::vector<json::value> chunks(const std::string& path, const std::string& body) {
    std::vector<json::value> result;
    const HttpReply reply = post(path, body);
    EXPECT_EQ(reply.status, 200) << reply.body;
    for (size_t at = 0; at < reply.body.size();) {
      const size_t end = reply.body.find("\n\n", at);
      const std::string data = reply.body.substr(at + 6, end - at - 6);
      if (data != "[DONE]") result.push_back(parse(data));
      at = end + 2;
    }
    return result;
  }
};

TEST_F(ParametersServerTest, PromptLogprobsHaveVllmsShape) {
  start();
  const json::value whole = complete(R"("prompt_logprobs": 2)");
  const json::array& scores = whole.at("choices").at(0).at("prompt_logprobs").as_array();
  ASSERT_EQ(scores.size(), static_cast<size_t>(whole.at("usage").at("prompt_tokens").as_int64()));
  EXPECT_TRUE(scores[0].is_null());
  for (size_t i = 1; i < scores.size(); ++i) {
    const json::object& entry = scores[i].as_object();
    EXPECT_GE(entry.size(), 2u);
    EXPECT_LE(entry.size(), 3u);
    int64_t best = 1000;
    for (const auto& [id, score] : entry) {
      EXPECT_LT(score.at("logprob").as_double(), 0);
      EXPECT_TRUE(score.at("decoded_token").is_string());
      best = std::min(best, score.at("rank").as_int64());
    }
    EXPECT_EQ(best, 1);
  }
  EXPECT_TRUE(whole.at("choices").at(0).at("logprobs").is_null());
  const json::value chat =
      answer("/v1/chat/completions",
             R"({"messages":[{"role":"user","content":"hi"}],"max_tokens":1,"prompt_logprobs":0})");
  EXPECT_EQ(chat.at("prompt_logprobs").as_array().size(),
            static_cast<size_t>(chat.at("usage").at("prompt_tokens").as_int64()));
}

TEST_F(ParametersServerTest, PromptLogprobsAndEchoedOnesEachHaveTheirNumber) {
  start();
  const json::value choice =
      complete(R"("prompt_logprobs": 4, "echo": true, "logprobs": 1)").at("choices").at(0);
  EXPECT_GE(choice.at("prompt_logprobs").at(1).as_object().size(), 4u);
  EXPECT_LE(choice.at("logprobs").at("top_logprobs").at(1).as_object().size(), 2u);
}

TEST_F(ParametersServerTest, UsageCanComeWithEveryChunk) {
  start();
  for (const char* path : {"/v1/completions", "/v1/chat/completions"}) {
    const auto events = chunks(path, R"({"prompt":"hello","messages":[{"role":"user","content":"hello"}],
      "max_tokens":4,"ignore_eos":true,"stream":true,
      "stream_options":{"include_usage":true,"continuous_usage_stats":true}})");
    ASSERT_GE(events.size(), 4u);
    int64_t so_far = 0;
    for (const json::value& event : events) {
      const int64_t now = event.at("usage").at("completion_tokens").as_int64();
      EXPECT_GE(now, so_far);
      EXPECT_GT(event.at("usage").at("prompt_tokens").as_int64(), 0);
      so_far = now;
    }
    EXPECT_EQ(so_far, 4);
  }
}

TEST_F(ParametersServerTest, TimingsAreLlamaCpps) {
  start();
  const json::object timings = complete(R"("n":1)").at("timings").as_object();
  for (const char* name : {"cache_n", "prompt_n", "prompt_ms", "prompt_per_token_ms", "prompt_per_second",
                           "predicted_n", "predicted_ms", "predicted_per_token_ms", "predicted_per_second"})
    EXPECT_TRUE(timings.contains(name)) << name;
  EXPECT_EQ(timings.at("predicted_n"), 4);
  EXPECT_GT(timings.at("prompt_ms").as_double(), 0);
  const auto events =
      chunks("/v1/completions", R"({"prompt":"hi","stream":true,"stream_options":{"include_usage":true}})");
  EXPECT_TRUE(events.back().as_object().contains("timings"));
  EXPECT_FALSE(events.front().as_object().contains("timings"));
}

TEST_F(ParametersServerTest, BestOfReturnsTheMostProbable) {
  start();
  const auto mean = [](const json::value& choice) {
    double sum = 0;
    const json::array& scores = choice.at("logprobs").at("token_logprobs").as_array();
    for (const json::value& score : scores) sum += score.as_double();
    return sum / static_cast<double>(scores.size());
  };
  const json::value all = complete(R"("n":6,"logprobs":0)");
  const json::value best = complete(R"("n":2,"best_of":6,"logprobs":0)");
  std::vector<double> means;
  for (const json::value& choice : all.at("choices").as_array()) means.push_back(mean(choice));
  std::ranges::sort(means, std::greater());
  ASSERT_EQ(best.at("choices").as_array().size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(best.at("choices").at(i).at("index"), i);
    EXPECT_DOUBLE_EQ(mean(best.at("choices").at(i)), means[i]);
  }
  EXPECT_EQ(best.at("usage").at("completion_tokens"), 24);
  EXPECT_TRUE(complete(R"("best_of":3)").at("choices").at(0).at("logprobs").is_null());
}

TEST_F(ParametersServerTest, TokenIdsAreReturnedWhereWanted) {
  start();
  const json::value choice = complete(R"("return_token_ids":true,"echo":true)").at("choices").at(0);
  EXPECT_EQ(choice.at("token_ids").as_array().size(), 4u);
  std::vector<TokenId> prompt = *model->engine->tokenizer().encode("hello world", Specials::parse);
  prompt.insert(prompt.begin(), kBos);
  EXPECT_EQ(json::value_to<std::vector<int32_t>>(choice.at("prompt_token_ids")), prompt);
  const std::string named =
      json::serialize(complete(R"("return_tokens_as_token_ids":true,"logprobs":1,"return_token_ids":true)"));
  EXPECT_NE(named.find("\"token_id:"), std::string::npos);
  std::vector<int32_t> streamed;
  for (const json::value& chunk :
       chunks("/v1/chat/completions", R"({"messages":[{"role":"user","content":"hi"}],"max_tokens":5,
         "ignore_eos":true,"stream":true,"return_token_ids":true})"))
    if (const auto* ids = chunk.at("choices").at(0).as_object().if_contains("token_ids"))
      for (const json::value& id : ids->as_array()) streamed.push_back(static_cast<int32_t>(id.as_int64()));
  EXPECT_EQ(streamed.size(), 5u);
}

TEST_F(ParametersServerTest, OnlyAllowedTokensAndNoBadWordsComeOut) {
  start();
  EXPECT_EQ(complete(R"("allowed_token_ids":[100])").at("choices").at(0).at("text"), "aaaa");
  const json::value both = complete(R"("allowed_token_ids":[100],"bad_words":["a"])").at("choices").at(0);
  EXPECT_EQ(both.at("text"), "");
  EXPECT_EQ(both.at("finish_reason"), "stop") << "nothing may follow";
}

TEST_F(ParametersServerTest, LogprobsOfNamedTokensComeInPlaceOfTheBest) {
  start();
  const json::value logprobs =
      complete(R"("allowed_token_ids":[100],"logprobs":1,"logprob_token_ids":[100,5,7],
                  "return_tokens_as_token_ids":true)")
          .at("choices")
          .at(0)
          .at("logprobs");
  const json::value logprob = logprobs.at("token_logprobs").at(0);
  for (const json::value& top : logprobs.at("top_logprobs").as_array()) {
    EXPECT_EQ(top.as_object().size(), 3u) << top;
    for (const char* token : {"token_id:5", "token_id:7", "token_id:100"})
      EXPECT_TRUE(top.as_object().contains(token)) << top;
  }
  EXPECT_EQ(logprobs.at("top_logprobs").at(0).at("token_id:100"), logprob);
}

TEST_F(ParametersServerTest, AddSpecialTokensDecidesAboutBos) {
  start();
  const auto prompt_tokens = [&](const char* members) {
    return complete(members).at("usage").at("prompt_tokens").as_int64();
  };
  EXPECT_EQ(prompt_tokens(R"("add_special_tokens":false)") + 1,
            prompt_tokens(R"("add_special_tokens":true)"));
}

TEST_F(ParametersServerTest, UnknownFieldsAreCounted) {
  start();
  complete(R"("typical_p":0.5,"no_such_field":{"a":[1,2]},"no_such_field_either":1)");
  EXPECT_EQ(metric("pagoda_unknown_request_fields_total{field=\"typical_p\"}"), 1);
  EXPECT_EQ(metric("pagoda_unknown_request_fields_total{field=\"other\"}"), 2);
}

TEST_F(ParametersServerTest, OneBadPromptOfABatchRefusesAll) {
  start();
  for (const auto& [prompt, param] :
       std::initializer_list<std::pair<const char*, const char*>>{{R"(["a", [1, 2], 7])", "prompt[2]"},
                                                                  {R"(["a", [1, 99999]])", "prompt[1][1]"},
                                                                  {R"([[1], "b", []])", "prompt[2]"},
                                                                  {R"([1, "b"])", "prompt[1]"}}) {
    const HttpReply reply = post("/v1/completions", fmt::format(R"({{"prompt":{}}})", prompt));
    EXPECT_EQ(reply.status, 400) << prompt;
    EXPECT_EQ(parse(reply.body).at("error").at("param"), param);
  }
  EXPECT_EQ(
      answer("/v1/completions", R"({"prompt":["a",[5,6]],"max_tokens":1})").at("choices").as_array().size(),
      2u);
  EXPECT_TRUE(engine_becomes_idle());
}

}  // namespace
}  // namespace pagoda::testing
