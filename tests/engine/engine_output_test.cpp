// What a request hears: tokens, text, ends, log probabilities.
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/engine_harness.h"

namespace pagoda {
namespace {

using testing::EngineHarness;
using testing::expect_output;
using testing::small_config;

Request make_request(std::vector<int32_t> prompt, int64_t max_tokens, uint64_t seed = 1) {
  return {.prompt = std::move(prompt), .sampling = {.seed = seed}, .max_tokens = max_tokens};
}

std::vector<int32_t> long_prompt(int32_t length) {
  std::vector<int32_t> prompt;
  for (int32_t i = 0; i < length; ++i) prompt.push_back(4 + i * 7 % 60);
  return prompt;
}

TEST(EngineOutput, AgreesWithThePlainLoop) {
  EngineHarness harness;
  for (const float temperature : {0.0f, 0.8f}) {
    Request request = make_request(long_prompt(40), 30);
    request.sampling.temperature = temperature;
    const auto sink = harness.submit(request);
    harness.run();
    expect_output(sink->outputs[0], harness.expected(request));
    EXPECT_TRUE(sink->done);
    EXPECT_TRUE(sink->status);
    EXPECT_EQ(sink->timings.num_prompt_tokens, 40);
    EXPECT_EQ(sink->timings.num_generated_tokens, std::ssize(sink->outputs[0].tokens));
  }
}

// What the model may leave out; each parameter that looks at other logits makes it wanted.
TEST(EngineOutput, OnlyTheGreatestLogitIsWantedWhereNothingElseIsLookedAt) {
  const auto wants_only_greatest = [](const std::vector<Request>& requests) {
    std::vector<bool> wanted;
    EngineHarness harness(small_config(), {.on_forward = [&](const ForwardBatch& batch) {
                            wanted.push_back(batch.only_greatest);
                          }});
    for (const Request& request : requests) harness.submit(request);
    harness.run();
    EXPECT_FALSE(wanted.empty());
    return wanted;
  };
  Request greedy = make_request({5, 6, 7}, 3);
  greedy.ignore_eos = true;
  greedy.sampling.temperature = 0.0f;
  EXPECT_THAT(wants_only_greatest({greedy, greedy}), ::testing::Each(true));
  const auto expect_all_wanted = [&](auto&& change) {
    Request other = greedy;
    change(other);
    EXPECT_THAT(wants_only_greatest({other}), ::testing::Contains(false));
    EXPECT_THAT(wants_only_greatest({greedy, other}), ::testing::Contains(false));
  };
  expect_all_wanted([](Request& r) { r.sampling.temperature = 0.5f; });
  expect_all_wanted([](Request& r) { r.sampling.num_logprobs = 0; });
  expect_all_wanted([](Request& r) { r.sampling.repetition_penalty = 1.1f; });
  expect_all_wanted([](Request& r) { r.sampling.presence_penalty = 0.1f; });
  expect_all_wanted([](Request& r) { r.sampling.frequency_penalty = 0.1f; });
  expect_all_wanted([](Request& r) { r.sampling.logit_bias = {{5, 1.0f}}; });
  expect_all_wanted([](Request& r) { r.sampling.bad_words = {{5}}; });
  expect_all_wanted([](Request& r) { r.sampling.allowed_tokens = {5, 6}; });
  expect_all_wanted([](Request& r) { r.want_prompt_logprobs = true; });
  expect_all_wanted([](Request& r) {
    r.min_tokens = 2;
    r.ignore_eos = false;
  });
}

TEST(EngineOutput, OneUpdatePerToken) {
  EngineHarness harness;
  Request request = make_request({5, 6}, 10);
  request.ignore_eos = true;
  const auto sink = harness.submit(request);
  EXPECT_EQ(harness.run(), 10);
  EXPECT_EQ(sink->num_updates, 10);
}

TEST(EngineOutput, ChunkSizeDoesNotMatter) {
  const Request request = make_request(long_prompt(100), 20);
  for (const int32_t chunk : {1, 7, 16, 100, 128}) {
    EngineConfig config = small_config();
    config.max_batch_tokens = std::max(chunk, config.max_sequences);
    config.prefill_chunk = chunk;
    EngineHarness harness(config);
    const auto sink = harness.submit(request);
    harness.run();
    expect_output(sink->outputs[0], harness.expected(request));
  }
}

TEST(EngineOutput, ThreadsDoNotMatter) {
  EngineConfig config = small_config();
  config.num_threads = 4;
  EngineHarness harness(config);
  std::vector<Request> requests;
  std::vector<std::shared_ptr<testing::RecordingSink>> sinks;
  for (uint64_t seed = 1; seed <= 8; ++seed) requests.push_back(make_request(long_prompt(20), 30, seed));
  for (const Request& request : requests) sinks.push_back(harness.submit(request));
  harness.run();
  for (size_t i = 0; i < requests.size(); ++i)
    expect_output(sinks[i]->outputs[0], harness.expected(requests[i]));
}

TEST(EngineOutput, EndTokenStopsAndIsNotShown) {
  EngineHarness harness;
  Request request = make_request({5}, 200);
  request.sampling.logit_bias = {{0, 3.0f}};
  const auto sink = harness.submit(request);
  harness.run();
  const auto& output = sink->outputs[0];
  EXPECT_EQ(output.finish, FinishReason::stop);
  EXPECT_EQ(output.stop_token, 0);
  EXPECT_EQ(output.tokens.back(), 0);
  EXPECT_THAT(output.text, ::testing::Not(::testing::HasSubstr("<eos>")));
  expect_output(output, harness.expected(request));
}

TEST(EngineOutput, SpecialTokensAreShownOnRequest) {
  EngineHarness harness;
  Request request = make_request({5}, 8);
  request.ignore_eos = true;
  request.sampling.logit_bias = {{1, 100.0f}};
  EXPECT_EQ((harness.submit(request), harness.run()), 8);
  const auto hidden = harness.submit(request);
  request.skip_special_tokens = false;
  const auto shown = harness.submit(request);
  harness.run();
  EXPECT_EQ(hidden->outputs[0].text, "");
  EXPECT_EQ(shown->outputs[0].text, "<bos><bos><bos><bos><bos><bos><bos><bos>");
  request.stop_token_ids = {1};
  const auto stopped = harness.submit(request);
  request.include_stop_in_output = true;
  const auto included = harness.submit(request);
  harness.run();
  EXPECT_EQ(stopped->outputs[0].text, "");
  EXPECT_EQ(stopped->outputs[0].stop_token, 1);
  EXPECT_EQ(included->outputs[0].text, "<bos>");
}

TEST(EngineOutput, IgnoreEosRunsToTheLimit) {
  EngineHarness harness;
  Request request = make_request({5}, 50);
  request.sampling.logit_bias = {{0, 100.0f}};
  request.ignore_eos = true;
  const auto sink = harness.submit(request);
  harness.run();
  EXPECT_EQ(sink->outputs[0].tokens, std::vector<int32_t>(50, 0));
  EXPECT_EQ(sink->outputs[0].finish, FinishReason::length);
}

TEST(EngineOutput, MinTokensPutsTheEndOff) {
  EngineHarness harness;
  Request request = make_request({5}, 50);
  request.sampling.logit_bias = {{0, 100.0f}};
  request.min_tokens = 7;
  const auto sink = harness.submit(request);
  harness.run();
  EXPECT_EQ(sink->outputs[0].tokens.size(), 8u);
  EXPECT_EQ(sink->outputs[0].finish, FinishReason::stop);
  expect_output(sink->outputs[0], harness.expected(request));
}

TEST(EngineOutput, ContextLimitEndsWithLength) {
  EngineHarness harness;
  Request request = make_request(long_prompt(250), 1000);
  request.ignore_eos = true;
  const auto sink = harness.submit(request);
  harness.run();
  EXPECT_EQ(sink->outputs[0].tokens.size(), 6u) << "256 positions, prompt and output together";
  EXPECT_EQ(sink->outputs[0].finish, FinishReason::length);
}

TEST(EngineOutput, StopStringsAcrossTokens) {
  EngineHarness harness;
  Request plain = make_request({5, 9}, 60);
  plain.ignore_eos = true;
  const auto whole = harness.submit(plain);
  harness.run();
  const std::string text = whole->outputs[0].text;
  ASSERT_GT(text.size(), 30u);
  Request request = plain;
  request.stop = {"never", text.substr(20, 4)};
  const auto sink = harness.submit(request);
  request.include_stop_in_output = true;
  const auto including = harness.submit(request);
  harness.run();
  const size_t begin = text.find(request.stop[1]);
  EXPECT_EQ(sink->outputs[0].text, text.substr(0, begin));
  EXPECT_EQ(sink->outputs[0].stop_match, request.stop[1]);
  EXPECT_EQ(sink->outputs[0].finish, FinishReason::stop);
  EXPECT_EQ(sink->outputs[0].stop_token, -1);
  EXPECT_EQ(including->outputs[0].text, text.substr(0, begin + 4));
}

TEST(EngineOutput, TextIsWholeCharacters) {
  EngineHarness harness;
  Request request = make_request({5}, 100);
  request.ignore_eos = true;
  request.sampling.logit_bias = {{2, 4.0f}, {3, 4.0f}};
  const auto sink = harness.submit(request);
  harness.run();
  EXPECT_THAT(sink->outputs[0].text, ::testing::HasSubstr("\xc3\xa9"));
  for (const std::string& piece : sink->outputs[0].pieces) {
    EXPECT_TRUE(piece.empty() || (static_cast<unsigned char>(piece.front()) & 0xc0) != 0x80) << piece;
    EXPECT_FALSE(piece.ends_with('\xc3')) << piece;
  }
  expect_output(sink->outputs[0], harness.expected(request));
}

TEST(EngineOutput, SequencesOfARequestShareThePrompt) {
  for (const int32_t length : {16, 20, 33}) {
    EngineHarness harness;
    Request request = make_request(long_prompt(length), 40);
    request.ignore_eos = true;
    request.num_sequences = 4;
    const auto sink = harness.submit(request);
    while (sink->num_updates == 0) harness.engine->step();
    EXPECT_EQ(harness.engine->stats().kv_pages_used, (length + 15) / 16) << "one prompt for all";
    EXPECT_EQ(harness.engine->stats().num_running, 4);
    harness.run();
    for (int32_t index = 0; index < 4; ++index)
      expect_output(sink->outputs[static_cast<size_t>(index)], harness.expected(request, index));
    EXPECT_NE(sink->outputs[0].tokens, sink->outputs[1].tokens);
    EXPECT_EQ(sink->timings.num_generated_tokens, 160);
    EXPECT_EQ(harness.engine->stats().prompt_tokens, static_cast<uint64_t>(length));
  }
}

TEST(EngineOutput, UnseededRequestsDifferButRunsAreAlike) {
  std::vector<std::vector<int32_t>> first;
  for (int run = 0; run < 2; ++run) {
    EngineHarness harness;
    std::vector<std::vector<int32_t>> outputs;
    for (int i = 0; i < 3; ++i) {
      const auto sink = harness.submit({.prompt = {5, 6}, .max_tokens = 20, .ignore_eos = true});
      harness.run();
      outputs.push_back(sink->outputs[0].tokens);
    }
    EXPECT_NE(outputs[0], outputs[1]);
    if (run == 0) first = outputs;
    EXPECT_EQ(outputs, first);
  }
}

TEST(EngineOutput, Logprobs) {
  EngineHarness harness;
  Request request = make_request({5, 6}, 12);
  request.sampling.num_logprobs = 3;
  const auto sink = harness.submit(request);
  request.sampling.temperature = 0;
  const auto greedy = harness.submit(request);
  harness.run();
  for (const auto& event : sink->outputs[0].events) {
    ASSERT_EQ(event.top_logprobs.size(), 3u);
    EXPECT_LE(event.logprob, event.top_logprobs[0].logprob);
    for (const TokenLogprob& top : event.top_logprobs) EXPECT_LT(top.logprob, 0.0f);
  }
  for (const auto& event : greedy->outputs[0].events) {
    EXPECT_EQ(event.top_logprobs[0].token, event.token);
    EXPECT_EQ(event.top_logprobs[0].logprob, event.logprob);
  }
}

// Log probabilities of a prompt must be what the same tokens get when they are forced out one by one.
TEST(EngineOutput, PromptLogprobs) {
  const std::vector<int32_t> prompt = long_prompt(70);
  const testing::FakeModel model({});
  for (const int64_t max_tokens : {0, 3}) {
    EngineHarness harness;
    Request request = make_request(prompt, max_tokens);
    request.want_prompt_logprobs = true;
    request.sampling.num_logprobs = 2;
    request.sampling.temperature = 0;
    const auto sink = harness.submit(request);
    harness.run();
    EXPECT_TRUE(sink->status);
    ASSERT_EQ(sink->prompt_logprobs.size(), prompt.size() - 1);
    for (size_t i = 1; i < prompt.size(); ++i) {
      const auto logits = model.logits_of(std::span(prompt).first(i));
      double total = 0;
      for (const float logit : logits) total += std::exp(logit);
      const auto& event = sink->prompt_logprobs[i - 1];
      EXPECT_EQ(event.token, prompt[i]);
      EXPECT_NEAR(event.logprob, logits[static_cast<size_t>(prompt[i])] - std::log(total), 1e-5);
      ASSERT_EQ(event.top_logprobs.size(), 2u);
      EXPECT_EQ(event.top_logprobs[0].token, std::ranges::max_element(logits) - logits.begin());
    }
    EXPECT_EQ(std::ssize(sink->outputs[0].tokens), max_tokens);
    EXPECT_EQ(sink->outputs[0].finish, FinishReason::length);
  }
}

TEST(EngineOutput, PromptLogprobsOfOneTokenAreEmpty) {
  EngineHarness harness;
  Request request = make_request({5}, 2);
  request.want_prompt_logprobs = true;
  const auto sink = harness.submit(request);
  harness.run();
  EXPECT_TRUE(sink->has_prompt_logprobs);
  EXPECT_TRUE(sink->prompt_logprobs.empty());
}

TEST(EngineOutput, MaxTokensZeroOnlyComputesThePrompt) {
  EngineHarness harness;
  Request request = make_request(long_prompt(70), 0);
  request.num_sequences = 2;
  const auto sink = harness.submit(request);
  harness.run();
  for (const auto& output : sink->outputs) {
    EXPECT_TRUE(output.tokens.empty());
    EXPECT_EQ(output.finish, FinishReason::length);
  }
  EXPECT_TRUE(sink->status);
}

TEST(EngineOutput, LogitsThatAreNotNumbersEndTheRequestOnly) {
  EngineHarness harness(small_config(), {.poison_token = 9});
  Request good = make_request(long_prompt(40), 30);
  good.sampling.logit_bias = {{9, -100.0f}};
  good.prompt.erase(std::ranges::remove(good.prompt, 9).begin(), good.prompt.end());
  const auto healthy = harness.submit(good);
  Request bad = make_request({5, 9}, 10);
  bad.num_sequences = 2;
  const auto poisoned = harness.submit(bad);
  Request scored = make_request({5, 9, 6}, 10);
  scored.want_prompt_logprobs = true;
  const auto poisoned_score = harness.submit(scored);
  harness.run();
  for (const auto& sink : {poisoned, poisoned_score}) {
    ASSERT_TRUE(sink->done);
    ASSERT_FALSE(sink->status);
    EXPECT_EQ(sink->status.error().code, ErrorCode::internal);
    for (const auto& output : sink->outputs) EXPECT_EQ(output.finish, FinishReason::error);
  }
  EXPECT_TRUE(healthy->status);
  EXPECT_EQ(harness.engine->stats().finished_error, 3u);
  const auto after = harness.submit(good);
  harness.run();
  EXPECT_EQ(after->outputs[0].tokens, healthy->outputs[0].tokens);
}

}  // namespace
}  // namespace pagoda
