// Embeddings: pooled hidden states, whatever the engine does meanwhile.
#include <cstring>

#include "support/engine_harness.h"

namespace pagoda {
namespace {

using testing::EngineHarness;
using testing::small_config;

constexpr Pooling kPoolings[] = {Pooling::last, Pooling::mean, Pooling::cls};

std::vector<int32_t> prompt_of(size_t size) {
  std::vector<int32_t> prompt(size);
  for (size_t i = 0; i < size; ++i) prompt[i] = static_cast<int32_t>(4 + i * i % 60);
  return prompt;
}

Request embed(std::vector<int32_t> prompt, Pooling pooling) {
  Request request{.prompt = std::move(prompt), .max_tokens = 0, .embed = pooling};
  request.sampling.seed = 1;
  return request;
}

std::vector<float> expected_of(const std::vector<int32_t>& prompt, Pooling pooling) {
  const testing::FakeModel model({.vocab_size = EngineHarness::kVocabSize});
  const auto hidden = [&](size_t length) { return model.hidden_of(std::span(prompt).first(length)); };
  if (pooling == Pooling::last) return hidden(prompt.size());
  if (pooling == Pooling::cls) return hidden(1);
  std::vector<double> sums(8);
  for (size_t length = 1; length <= prompt.size(); ++length) {
    const std::vector<float> row = hidden(length);
    for (size_t i = 0; i < sums.size(); ++i) sums[i] += static_cast<double>(row[i]);
  }
  std::vector<float> mean;
  for (const double sum : sums) mean.push_back(static_cast<float>(sum / static_cast<double>(prompt.size())));
  return mean;
}

TEST(EngineEmbedding, IsTheReferencesInEveryChunkSize) {
  for (const Pooling pooling : kPoolings) {
    for (const int32_t chunk : {1, 5, 32}) {
      EngineConfig config = small_config();
      config.prefill_chunk = chunk;
      EngineHarness harness(config);
      const auto sink = harness.submit(embed(prompt_of(77), pooling));
      harness.run();
      EXPECT_TRUE(sink->status);
      EXPECT_EQ(sink->embedding, expected_of(prompt_of(77), pooling)) << chunk;
      EXPECT_TRUE(sink->outputs[0].tokens.empty());
    }
  }
}

TEST(EngineEmbedding, GeneratingMatesChangeNothingAndAreNotChanged) {
  EngineHarness harness;
  std::vector<std::shared_ptr<testing::RecordingSink>> sinks;
  std::vector<Request> requests;
  for (size_t i = 0; i < 12; ++i) {
    Request request = embed(prompt_of(5 + 9 * i), kPoolings[i % 3]);
    if (i % 2 == 0) request = {.prompt = prompt_of(3 + i), .max_tokens = 20, .ignore_eos = true};
    request.sampling.seed = i;
    requests.push_back(request);
    sinks.push_back(harness.submit(request));
  }
  harness.run();
  for (size_t i = 0; i < requests.size(); ++i) {
    if (requests[i].embed)
      EXPECT_EQ(sinks[i]->embedding, expected_of(requests[i].prompt, *requests[i].embed)) << i;
    else
      expect_output(sinks[i]->outputs[0], harness.expected(requests[i]));
    EXPECT_EQ(sinks[i]->embedding.empty(), !requests[i].embed);
  }
}

TEST(EngineEmbedding, PreemptedPromptsArePooledOnce) {
  EngineConfig config = small_config();
  config.num_pages = 9;
  config.prefill_chunk = 4;
  EngineHarness harness(config);
  std::vector<std::shared_ptr<testing::RecordingSink>> sinks;
  for (int i = 0; i < 6; ++i) sinks.push_back(harness.submit(embed(prompt_of(70), Pooling::mean)));
  Request generating{.prompt = prompt_of(30), .max_tokens = 60, .ignore_eos = true};
  generating.sampling.seed = 3;
  const auto mate = harness.submit(generating);
  harness.run();
  for (const auto& sink : sinks) EXPECT_EQ(sink->embedding, expected_of(prompt_of(70), Pooling::mean));
  expect_output(mate->outputs[0], harness.expected(generating));
}

TEST(EngineEmbedding, ACancelledOneGivesNothing) {
  EngineHarness harness;
  const auto sink = harness.submit(embed(prompt_of(100), Pooling::last));
  harness.engine->step();
  harness.engine->cancel(harness.last_id);
  harness.run();
  EXPECT_TRUE(sink->embedding.empty());
  EXPECT_FALSE(sink->status);
}

TEST(EngineEmbedding, ValuesThatAreNoNumbersAreAnError) {
  EngineHarness harness(small_config(), {.poison_token = 9});
  const auto sink = harness.submit(embed({5, 9, 6}, Pooling::mean));
  const auto mate = harness.submit(embed({5, 6}, Pooling::mean));
  harness.run();
  EXPECT_FALSE(sink->status);
  EXPECT_TRUE(sink->embedding.empty());
  EXPECT_TRUE(mate->status);
}

TEST(EngineEmbedding, NothingCanBeGeneratedBeside) {
  EngineHarness harness;
  Request request = embed(prompt_of(4), Pooling::last);
  request.max_tokens = 1;
  EXPECT_FALSE(harness.engine->submit(request, std::make_shared<testing::RecordingSink>()));
  request.max_tokens = 0;
  request.num_sequences = 2;
  EXPECT_FALSE(harness.engine->submit(request, std::make_shared<testing::RecordingSink>(2)));
}

}  // namespace
}  // namespace pagoda
