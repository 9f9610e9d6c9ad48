#include "engine/evaluate.h"

#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "support/fake_model.h"
#include "support/plain_kernels.h"

namespace pagoda {
namespace {

using Rows = std::vector<std::vector<float>>;

class EvaluatorTest : public ::testing::Test {
 protected:
  Evaluator make(const EvaluatorLimits& limits) {
    return Evaluator::create(model_, kernels_, pool_, limits).value();
  }
  // Logits from ids[first] on, checking the positions that the callback is told.
  Rows rows_of(Evaluator& evaluator, std::span<const int32_t> ids, size_t first) {
    Rows rows;
    int64_t expected = evaluator.length(0) + static_cast<int64_t>(first);
    const Status status =
        evaluator.append(0, ids, first, [&](int64_t position, std::span<const float> logits) {
          EXPECT_EQ(position, expected++);
          rows.emplace_back(logits.begin(), logits.end());
        });
    EXPECT_TRUE(status);
    return rows;
  }

  testing::FakeModel model_{{.vocab_size = 64, .max_context = 4096}};
  Kernels kernels_ = testing::plain_kernels();
  ThreadPool pool_{1};
};

std::vector<int32_t> some_ids(size_t count) {
  std::vector<int32_t> ids(count);
  for (size_t i = 0; i < count; ++i) ids[i] = static_cast<int32_t>(i * 7 % 64);
  return ids;
}

TEST_F(EvaluatorTest, EveryChunkSizeGivesTheModelsLogits) {
  const std::vector<int32_t> ids = some_ids(50);
  for (const int32_t chunk : {1, 7, 16, 50, 300}) {
    Evaluator evaluator = make({.max_context = 64, .max_tokens_per_step = chunk});
    const Rows rows = rows_of(evaluator, ids, 0);
    ASSERT_EQ(rows.size(), ids.size()) << chunk;
    for (size_t i = 0; i < rows.size(); ++i)
      EXPECT_EQ(rows[i], model_.logits_of(std::span(ids).first(i + 1))) << chunk << " at " << i;
  }
}

TEST_F(EvaluatorTest, GivesOnlyTheRowsThatAreWanted) {
  const std::vector<int32_t> ids = some_ids(40);
  Evaluator evaluator = make({.max_context = 100, .max_tokens_per_step = 16});
  EXPECT_EQ(rows_of(evaluator, ids, 33).size(), 7u);
  EXPECT_EQ(evaluator.length(0), 40);
  EXPECT_TRUE(rows_of(evaluator, ids, ids.size()).empty());
  EXPECT_EQ(evaluator.length(0), 80);
  evaluator.truncate(0, 0);
  EXPECT_EQ(rows_of(evaluator, ids, 39).at(0), model_.logits_of(ids));
}

// With a large vocabulary the logits buffer holds fewer rows than a step has tokens.
TEST_F(EvaluatorTest, CutsStepsAtTheLogitsBuffer) {
  testing::FakeModel wide({.vocab_size = 3 << 20, .max_context = 64});
  Evaluator evaluator =
      Evaluator::create(wide, kernels_, pool_, {.max_context = 64, .max_tokens_per_step = 32}).value();
  const std::vector<int32_t> ids = some_ids(13);
  size_t count = 0;
  const Status status = evaluator.append(0, ids, 1, [&](int64_t position, std::span<const float> logits) {
    ++count;
    const auto expected = wide.logits_of(std::span(ids).first(static_cast<size_t>(position) + 1));
    EXPECT_TRUE(std::ranges::equal(logits.first(100), std::span(expected).first(100))) << position;
  });
  ASSERT_TRUE(status);
  EXPECT_EQ(count, 12u);
}

TEST_F(EvaluatorTest, StepsSeveralSequencesTogether) {
  Evaluator evaluator = make({.max_context = 32, .max_sequences = 3, .max_tokens_per_step = 1});
  std::vector<std::vector<int32_t>> contexts(3);
  for (int32_t step = 0; step < 32; ++step) {
    const std::vector<int32_t> tokens = {step, 63 - step, 5};
    const auto logits = evaluator.step(tokens);
    ASSERT_TRUE(logits);
    for (size_t i = 0; i < 3; ++i) {
      contexts[i].push_back(tokens[i]);
      const auto expected = model_.logits_of(contexts[i]);
      EXPECT_TRUE(std::ranges::equal(logits->subspan(i * 64, 64), expected)) << step;
    }
  }
  EXPECT_FALSE(evaluator.step(std::vector<int32_t>{1}));  // the context is full
}

TEST_F(EvaluatorTest, NamesWhatDoesNotFit) {
  Evaluator evaluator = make({.max_context = 4});
  const auto ignore = [](int64_t, std::span<const float>) {};
  const Status id = evaluator.append(0, std::vector<int32_t>{1, 64}, 0, ignore);
  ASSERT_FALSE(id);
  EXPECT_NE(id.error().message.find("64"), std::string::npos);
  const Status length = evaluator.append(0, some_ids(5), 0, ignore);
  ASSERT_FALSE(length);
  EXPECT_NE(length.error().message.find("context of 4"), std::string::npos);
  EXPECT_EQ(evaluator.length(0), 0);
  EXPECT_FALSE(Evaluator::create(model_, kernels_, pool_, {.max_context = 4097}));
  EXPECT_FALSE(Evaluator::create(model_, kernels_, pool_, {.max_context = 0}));
  const auto memory = Evaluator::create(model_, kernels_, pool_, {.max_context = 4, .memory_bytes = 1 << 20});
  ASSERT_FALSE(memory);
  EXPECT_EQ(memory.error().code, ErrorCode::out_of_memory);
}

}  // namespace
}  // namespace pagoda
