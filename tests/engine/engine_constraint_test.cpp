// Requests with a constraint: what comes out fits it, and everything else is as without one.
#include <regex>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/engine_harness.h"

namespace pagoda {
namespace {

using testing::EngineHarness;
using testing::FakeTokenizer;
using testing::RecordingSink;
using testing::small_config;

constexpr int32_t kEos = 0;
constexpr int32_t kA = 4;
using Kind = ConstraintSource::Kind;

class EngineConstraint : public ::testing::Test {
 protected:
  std::shared_ptr<const CompiledConstraint> compile(std::string text, Kind kind = Kind::regex) const {
    auto compiled = factory.compile({.kind = kind, .text = std::move(text)});
    EXPECT_TRUE(compiled) << compiled.error().message;
    return compiled.value_or(nullptr);
  }
  Request request(std::string regex, int64_t max_tokens = 40, float temperature = 1.0f,
                  uint64_t seed = 1) const {
    return {.prompt = {5, 6, 7},
            .sampling = {.temperature = temperature, .seed = seed},
            .max_tokens = max_tokens,
            .constraint = compile(std::move(regex))};
  }
  static std::shared_ptr<RecordingSink> run(const Request& request, EngineConfig config = small_config()) {
    EngineHarness harness(std::move(config));
    auto sink = harness.submit(request);
    harness.run();
    return sink;
  }
  static void expect_match(const RecordingSink::Output& output, const std::string& regex) {
    EXPECT_TRUE(std::regex_match(output.text, std::regex(regex))) << output.text;
    EXPECT_EQ(output.finish, FinishReason::stop);
  }

  const FakeTokenizer tokenizer = FakeTokenizer::letters(EngineHarness::kVocabSize);
  const ConstraintFactory factory = std::move(*ConstraintFactory::create(tokenizer, std::vector{kEos}));
};

TEST_F(EngineConstraint, AllLogitsAreWanted) {
  std::vector<bool> wanted;
  EngineHarness harness(small_config(), {.on_forward = [&](const ForwardBatch& batch) {
                          wanted.push_back(batch.only_greatest);
                        }});
  harness.submit(request("[a-m]{3,5}", 10, 0.0f));
  harness.run();
  EXPECT_THAT(wanted, ::testing::Contains(false));
  EXPECT_THAT(wanted, ::testing::Not(::testing::Contains(true)));
}

TEST_F(EngineConstraint, EverySequenceFits) {
  const std::string regex = "([a-m]{3,5} ){2}x+y";
  for (const float temperature : {0.0f, 1.0f, 1.5f}) {
    Request wish = request(regex, 100, temperature);
    wish.num_sequences = 4;
    const auto sink = run(wish);
    for (const auto& output : sink->outputs) expect_match(output, regex);
    if (temperature > 0) {
      EXPECT_NE(sink->outputs[0].tokens, sink->outputs[1].tokens);
    }
  }
}

TEST_F(EngineConstraint, OneThatAllowsAllChangesNothing) {
  for (const float temperature : {0.0f, 0.8f, 1.3f})
    for (uint64_t seed = 1; seed <= 5; ++seed) {
      Request free = request("(?s:.*)", 60, temperature, seed);
      // Special tokens and halves of characters fit no text.
      free.sampling.logit_bias = {{1, -100.0f}, {2, -100.0f}, {3, -100.0f}};
      free.sampling.num_logprobs = 3;
      const auto constrained = run(free);
      free.constraint = nullptr;
      const auto plain = run(free);
      EXPECT_EQ(constrained->outputs[0].tokens, plain->outputs[0].tokens);
      EXPECT_EQ(constrained->outputs[0].text, plain->outputs[0].text);
      EXPECT_EQ(constrained->outputs[0].finish, plain->outputs[0].finish);
      for (size_t i = 0; i < plain->outputs[0].events.size(); ++i)
        EXPECT_EQ(constrained->outputs[0].events[i].logprob, plain->outputs[0].events[i].logprob);
    }
}

TEST_F(EngineConstraint, GreedyTakesTheBestAllowedToken) {
  const auto sink = run(request("[a-c]{6}", 40, 0.0f));
  testing::FakeModel model({.vocab_size = EngineHarness::kVocabSize});
  std::vector<int32_t> context = {5, 6, 7};
  for (const int32_t token : sink->outputs[0].tokens) {
    const std::vector<float> logits = model.logits_of(context);
    int32_t best = kA;
    for (int32_t other = kA; other < kA + 3; ++other)
      if (logits[static_cast<size_t>(other)] > logits[static_cast<size_t>(best)]) best = other;
    EXPECT_EQ(token, best);
    context.push_back(token);
  }
}

TEST_F(EngineConstraint, LogprobsAreOfAllTokens) {
  Request wish = request("[a-c]+", 1, 1.0f);
  wish.sampling.num_logprobs = 5;
  const auto constrained = run(wish);
  wish.constraint = nullptr;
  const auto plain = run(wish);
  const auto& expected = plain->outputs[0].events[0].top_logprobs;
  const auto& actual = constrained->outputs[0].events[0].top_logprobs;
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(actual[i].token, expected[i].token);
    EXPECT_EQ(actual[i].logprob, expected[i].logprob);
  }
}

TEST_F(EngineConstraint, BatchMatesAndPreemptionDoNotMatter) {
  EngineConfig tight = small_config();
  tight.num_pages = 12;
  EngineHarness crowded(tight);
  std::vector<Request> wishes;
  std::vector<std::shared_ptr<RecordingSink>> sinks;
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    wishes.push_back(request("([a-f]{2}[x-z])+", 60, seed % 2 == 0 ? 0.0f : 1.0f, seed));
    if (seed == 3) wishes.back().constraint = nullptr;
    wishes.back().ignore_eos = true;
    sinks.push_back(crowded.submit(wishes.back()));
  }
  crowded.run();
  EXPECT_GT(crowded.engine->stats().num_preemptions, 0);
  for (size_t i = 0; i < wishes.size(); ++i) {
    const auto alone = run(wishes[i]);
    EXPECT_EQ(sinks[i]->outputs[0].tokens, alone->outputs[0].tokens) << i;
    EXPECT_EQ(sinks[i]->outputs[0].text, alone->outputs[0].text) << i;
  }
}

TEST_F(EngineConstraint, AFinishedTextEndsAtOnce) {
  Request wish = request("abc", 40);
  wish.ignore_eos = true;
  wish.min_tokens = 10;
  const auto sink = run(wish);
  EXPECT_EQ(sink->outputs[0].text, "abc");
  EXPECT_EQ(sink->outputs[0].finish, FinishReason::stop);
  EXPECT_EQ(sink->outputs[0].stop_token, -1);
  EXPECT_EQ(sink->outputs[0].tokens.size(), 3u);
  EXPECT_TRUE(sink->status);
}

TEST_F(EngineConstraint, EndTokensComeWhereTheTextMayEnd) {
  Request wish = request("(ab)+", 40);
  wish.sampling.logit_bias = {{kEos, 100.0f}};
  EXPECT_EQ(run(wish)->outputs[0].text, "ab");
  wish.min_tokens = 4;
  EXPECT_EQ(run(wish)->outputs[0].text, "abab");
  wish.ignore_eos = true;
  const auto endless = run(wish);
  EXPECT_EQ(endless->outputs[0].finish, FinishReason::length);
  EXPECT_EQ(endless->outputs[0].text.size(), 40u);
  wish = request("a{3,5}", 40);
  wish.ignore_eos = true;
  wish.sampling.logit_bias = {{kEos, 100.0f}};
  EXPECT_EQ(run(wish)->outputs[0].text, "aaaaa");
}

TEST_F(EngineConstraint, BiasCannotBreakIt) {
  Request wish = request("[b-d]{4}", 40);
  wish.sampling.logit_bias = {{kA, 100.0f}, {kA + 2, 50.0f}};
  EXPECT_EQ(run(wish)->outputs[0].text, "cccc");
}

TEST_F(EngineConstraint, StopStringsEndAnIncompleteText) {
  Request wish = request("abcd", 40);
  wish.stop = {"bc"};
  const auto sink = run(wish);
  EXPECT_EQ(sink->outputs[0].text, "a");
  EXPECT_EQ(sink->outputs[0].stop_match, "bc");
}

TEST_F(EngineConstraint, AnUnspellableTextIsAnErrorOfItsRequestOnly) {
  EngineHarness harness;
  const auto impossible = harness.submit(request("abc9", 40));
  const auto fine = harness.submit(request("abcd", 40));
  harness.run();
  EXPECT_EQ(impossible->outputs[0].finish, FinishReason::error);
  ASSERT_FALSE(impossible->status);
  EXPECT_EQ(impossible->status.error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(fine->outputs[0].text, "abcd");
}

TEST_F(EngineConstraint, ACostlyOneEndsItsRequestOnly) {
  EngineHarness harness;
  Request costly = request("x", 200);
  costly.constraint = compile("start: many\nmany: many many | many many many | /[a-z] ?/\n", Kind::grammar);
  costly.ignore_eos = true;
  const auto stopped = harness.submit(costly);
  const auto fine = harness.submit(request("([a-z] ?){150}", 200));
  harness.run();
  EXPECT_EQ(stopped->outputs[0].finish, FinishReason::error);
  EXPECT_FALSE(stopped->status);
  EXPECT_EQ(fine->outputs[0].finish, FinishReason::stop);
}

}  // namespace
}  // namespace pagoda
