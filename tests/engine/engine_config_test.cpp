#include "engine/engine_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/fake_model.h"

namespace pagoda {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kMiB = 1 << 20;

class EngineConfigTest : public ::testing::Test {
 protected:
  EngineConfig resolved(const EngineOptions& options) {
    auto config = resolve(options, model_, machine_, 10 * kMiB);
    EXPECT_TRUE(config) << config.error().message;
    return config.value_or(EngineConfig{});
  }
  void expect_error(const EngineOptions& options, ErrorCode code, const char* part) {
    const auto config = resolve(options, model_, machine_, 10 * kMiB);
    ASSERT_FALSE(config) << part;
    EXPECT_EQ(config.error().code, code);
    EXPECT_THAT(config.error().message, HasSubstr(part));
  }
  testing::FakeModel model_{{.vocab_size = 1000, .max_context = 4096}};  // weights of 1 MiB
  MachineInfo machine_{.cpu = {.num_cores = 6}, .available_memory = 100 * kMiB};
};

TEST_F(EngineConfigTest, Defaults) {
  const EngineConfig config = resolved({});
  EXPECT_EQ(config.num_threads, 6);
  EXPECT_EQ(config.memory_bytes, 100 * kMiB / 10 * 8);
  EXPECT_EQ(config.max_context, 4096);
  EXPECT_EQ(config.max_batch_tokens, 256);
  EXPECT_EQ(config.prefill_chunk, 256);
  EXPECT_EQ(config.max_sequences, 64);
  EXPECT_EQ(config.max_queued_requests, 256);
  EXPECT_EQ(config.policy, "mlfq");
  EXPECT_EQ(config.batch_limits().max_logits_rows, 64);
}

TEST_F(EngineConfigTest, OptionsAreKept) {
  const EngineConfig config = resolved({.num_threads = 3,
                                        .memory_bytes = 50 * kMiB,
                                        .max_context = 100,
                                        .max_batch_tokens = 40,
                                        .max_sequences = 8,
                                        .max_queued_requests = 9,
                                        .prefill_chunk = 20,
                                        .policy = "fcfs",
                                        .seed = 77});
  EXPECT_EQ(config.num_threads, 3);
  EXPECT_EQ(config.memory_bytes, 50 * kMiB);
  EXPECT_EQ(config.max_context, 100);
  EXPECT_EQ(config.max_batch_tokens, 40);
  EXPECT_EQ(config.max_sequences, 8);
  EXPECT_EQ(config.max_queued_requests, 9);
  EXPECT_EQ(config.prefill_chunk, 20);
  EXPECT_EQ(config.seed, 77u);
  EXPECT_EQ(config.batch_limits().max_logits_rows, 32) << "enough for log probabilities of prompts";
}

TEST_F(EngineConfigTest, MemoryIsAPromise) {
  for (const uint64_t memory : {4 * kMiB, 8 * kMiB, 20 * kMiB, 64 * kMiB}) {
    const EngineConfig config = resolved({.num_threads = 2, .memory_bytes = memory});
    EXPECT_EQ(config.weight_bytes, kMiB);
    EXPECT_GT(config.workspace_bytes, 64u * 1000 * sizeof(float)) << "rows of logits count";
    EXPECT_LE(config.weight_bytes + config.workspace_bytes + config.kv_bytes, memory);
    EXPECT_EQ(config.kv_bytes, static_cast<uint64_t>(config.num_pages) * model_.info().kv_shape.page_bytes());
  }
}

TEST_F(EngineConfigTest, ConstraintsTakeTheirPartOfTheBudget) {
  const EngineOptions without{.memory_bytes = 20 * kMiB};
  EngineOptions with = without;
  with.constraints = true;
  EXPECT_EQ(resolved(without).constraint_bytes, 0u);
  EXPECT_EQ(resolved(with).constraint_bytes, 10 * kMiB);
  const uint64_t page = model_.info().kv_shape.page_bytes() + PrefixCache::kBytesPerNode;
  const auto fewer = static_cast<uint64_t>(resolved(without).num_pages - resolved(with).num_pages);
  EXPECT_GE(fewer * page, 10 * kMiB - page);
  EXPECT_LE(fewer * page, 10 * kMiB + page);
  with.memory_bytes = 11 * kMiB;
  expect_error(with, ErrorCode::out_of_memory, "tables for constraints 10.0 MiB");
}

TEST_F(EngineConfigTest, ThePoolIsNoLargerThanAllSequencesNeed) {
  const EngineConfig config = resolved({.memory_bytes = 1000 * kMiB, .max_context = 100, .max_sequences = 5});
  EXPECT_EQ(config.num_pages, 5 * 7);
  EXPECT_EQ(config.kv_capacity_tokens(), 35 * kPageTokens);
}

TEST_F(EngineConfigTest, ThePoolHasABoundOfItsOwn) {
  const uint64_t page = model_.info().kv_shape.page_bytes();
  EXPECT_EQ(resolved({.max_kv_bytes = 300 * page + 1}).num_pages, 300);
  EXPECT_EQ(
      resolved(
          {.memory_bytes = 1000 * kMiB, .max_context = 100, .max_sequences = 5, .max_kv_bytes = 99 * page})
          .num_pages,
      99)
      << "more than the sequences need";
  expect_error({.max_sequences = 10, .max_kv_bytes = 9 * page}, ErrorCode::out_of_memory, "9 pages");
}

TEST_F(EngineConfigTest, ContextIsLoweredToThePoolUnlessAskedFor) {
  const uint64_t page = model_.info().kv_shape.page_bytes();
  EXPECT_EQ(resolved({.max_sequences = 10, .max_kv_bytes = 20 * page}).max_context, 20 * kPageTokens);
  expect_error({.max_context = 1000, .max_sequences = 10, .max_kv_bytes = 20 * page},
               ErrorCode::out_of_memory, "320 tokens");
  expect_error({.max_context = 1000, .max_sequences = 10, .max_kv_bytes = 20 * page},
               ErrorCode::out_of_memory, "raise --max-kv");
}

TEST_F(EngineConfigTest, ManySequencesWidenTheBatch) {
  EXPECT_EQ(resolved({.max_sequences = 400}).max_batch_tokens, 400);
  EXPECT_EQ(resolved({.max_batch_tokens = 16}).max_sequences, 16);
  expect_error({.max_batch_tokens = 16, .max_sequences = 17}, ErrorCode::invalid_argument,
               "--max-sequences 17");
}

TEST_F(EngineConfigTest, WhatDoesNotFitIsRefusedWithTheSizes) {
  expect_error({.memory_bytes = kMiB}, ErrorCode::out_of_memory, "weights 1.0 MiB");
  machine_.available_memory = 0;
  expect_error({}, ErrorCode::out_of_memory, "--memory");
}

TEST_F(EngineConfigTest, OptionsOutOfRangeAreNamed) {
  expect_error({.num_threads = -1}, ErrorCode::invalid_argument, "--threads");
  expect_error({.max_context = 4097}, ErrorCode::invalid_argument, "--max-context");
  expect_error({.max_batch_tokens = -5}, ErrorCode::invalid_argument, "--max-batch-tokens");
  expect_error({.max_sequences = 5000}, ErrorCode::invalid_argument, "--max-sequences");
  expect_error({.max_queued_requests = -1}, ErrorCode::invalid_argument, "--max-queued");
  expect_error({.prefill_chunk = -1}, ErrorCode::invalid_argument, "--prefill-chunk");
  expect_error({.policy = "lottery"}, ErrorCode::invalid_argument, "lottery");
}

}  // namespace
}  // namespace pagoda
