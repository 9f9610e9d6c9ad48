// A forward pass takes all its memory from the workspace, which is as large as workspace_bytes says and no
// larger.
#include <gtest/gtest.h>

#include "model/bits.h"
#include "model/model_runner.h"
#include "support/counting_new.h"

namespace pagoda::testing {
namespace {

class ForwardAllocationTest : public ::testing::TestWithParam<const char*> {};

TEST_P(ForwardAllocationTest, AllocatesNothing) {
  constexpr int32_t kTokens = 64;
  constexpr int32_t kSequences = 2;
  ThreadPool pool(2);
  const auto model = load(model_folder(GetParam()), best_isa(), pool);
  KvPool kv = value_of(KvPool::create(model->info().kv_shape, 2 * kTokens / kPageTokens));
  Workspace workspace = value_of(
      Workspace::create(model->workspace_bytes({kTokens, kSequences, kTokens, kTokens, pool.num_threads()})));
  const std::vector<int32_t> ids = made_up_ids(kTokens, model->info().vocab_size, 3);
  std::vector<int32_t> positions(kTokens);
  std::vector<int32_t> rows(kTokens);
  for (int32_t i = 0; i < kTokens; ++i) {
    positions[static_cast<size_t>(i)] = i % (kTokens / kSequences);
    rows[static_cast<size_t>(i)] = i;
  }
  const std::vector<PageId> pages = {0, 1, 2, 3};
  const std::vector<SequenceSlice> slices = {{0, kTokens / 2, 0, std::span(pages).first(2)},
                                             {kTokens / 2, kTokens / 2, 0, std::span(pages).last(2)}};
  std::vector<float> logits(static_cast<size_t>(kTokens * model->info().vocab_size));
  const Kernels& kernels = kernels_for(best_isa());
  const auto forward = [&] {
    workspace.reset();
    ForwardContext context = {pool, kernels, kv, workspace};
    model->forward({ids, positions, slices, rows}, context, logits);
  };
  forward();
  const std::vector<float> first = logits;
  const int64_t before = num_allocations();
  for (int i = 0; i < 5; ++i) forward();
  EXPECT_EQ(num_allocations(), before);
  expect_same_bits(logits, first, "again");
}

INSTANTIATE_TEST_SUITE_P(Models, ForwardAllocationTest, ::testing::Values("llama_gqa", "gemma3", "gpt2"),
                         [](const auto& tested) { return std::string(tested.param); });

}  // namespace
}  // namespace pagoda::testing
