// What must not change a bit of any logit: chunks, batch mates, threads, instruction sets, the order of
// pages.
#include <gtest/gtest.h>

#include "model/bits.h"
#include "model/model_runner.h"

namespace pagoda::testing {
namespace {

constexpr const char* kModels[] = {"llama_gqa", "llama_tied", "llama_bias", "llama3_rope", "mistral",
                                   "qwen2",     "gemma3",     "gpt2",       "opt"};
constexpr int32_t kBatchMates = 8;

class IdentityTest : public ::testing::TestWithParam<std::tuple<const char*, KvType>> {
 protected:
  IdentityTest() {
    const auto [name, kv_type] = GetParam();
    const std::string folder = model_folder(name);
    ids_ = GoldenFile(folder + "/golden.safetensors").ints("prompt2.ids");
    model_ = load(folder, best_isa(), one_thread_, kv_type);
    reference_ = run(*model_, one_thread_, {.isa = best_isa()}, ids_.size());
  }

  std::vector<float> run(Model& model, ThreadPool& pool, const ModelRunner::Options& options,
                         size_t chunk) const {
    return ModelRunner(model, pool, options).run(ids_, chunk);
  }

  ThreadPool one_thread_{1};
  ThreadPool two_threads_{2};
  std::vector<int32_t> ids_;
  std::unique_ptr<Model> model_;
  std::vector<float> reference_;  // of all positions, computed at once by one thread
};

TEST_P(IdentityTest, Chunks) {
  for (const size_t chunk : {1, 7, 16})
    expect_same_bits(run(*model_, one_thread_, {.isa = best_isa()}, chunk), reference_,
                     fmt::format("chunks of {}", chunk));
}

TEST_P(IdentityTest, Threads) {
  for (const size_t chunk : {size_t{1}, ids_.size()})
    expect_same_bits(run(*model_, two_threads_, {.isa = best_isa()}, chunk), reference_,
                     fmt::format("chunks of {}", chunk));
}

TEST_P(IdentityTest, PageOrder) {
  const ModelRunner::Options options = {.isa = best_isa(), .num_sequences = 3, .order = PageOrder::shuffled};
  expect_same_bits(run(*model_, two_threads_, options, 33), reference_, "shuffled pages");
}

// In the middle of a page, and others use the pages meanwhile.
TEST_P(IdentityTest, OutOfThePoolAndBack) {
  constexpr size_t kBefore = 21;
  ModelRunner runner(*model_, two_threads_,
                     {.isa = best_isa(), .num_sequences = 2, .order = PageOrder::shuffled});
  std::vector<float> logits = runner.run(std::span(ids_).first(kBefore), 8);
  runner.move(0, 1);
  runner.run(made_up_ids(64, model_->info().vocab_size, 3), 64, 0);
  const std::vector<float> rest = runner.run(std::span(ids_).subspan(kBefore), 5, 1);
  logits.insert(logits.end(), rest.begin(), rest.end());
  expect_same_bits(logits, reference_, "moved");
}

TEST_P(IdentityTest, InstructionSets) {
  for (const Isa isa : available_isas(detect_cpu()))
    expect_same_bits(run(*model_, two_threads_, {.isa = isa}, ids_.size()), reference_,
                     std::string(to_string(isa)));
}

// Steps in which one sequence prefills in chunks while its mates decode or prefill chunks of other sizes.
TEST_P(IdentityTest, BatchMates) {
  constexpr size_t kChunk = 19;
  ModelRunner runner(*model_, two_threads_,
                     {.isa = best_isa(), .num_sequences = kBatchMates + 1, .order = PageOrder::shuffled});
  std::vector<std::vector<int32_t>> mates;
  for (int32_t mate = 0; mate < kBatchMates; ++mate)
    mates.push_back(made_up_ids(200, model_->info().vocab_size, static_cast<uint64_t>(mate) + 1));
  std::vector<size_t> done(mates.size(), 0);
  std::vector<float> logits;
  const auto vocab_size = static_cast<size_t>(model_->info().vocab_size);
  for (size_t begin = 0; begin < ids_.size(); begin += kChunk) {
    const size_t count = std::min(kChunk, ids_.size() - begin);
    std::vector<Feed> feeds;
    size_t tokens_before = 0;
    for (size_t mate = 0; mate < mates.size(); ++mate) {
      const size_t share = mate % 2 == 0 ? 1 : 2 * mate;
      if (mate == mates.size() / 2) feeds.push_back({0, std::span(ids_).subspan(begin, count)});
      if (mate < mates.size() / 2) tokens_before += share;
      feeds.push_back({static_cast<int32_t>(mate) + 1, std::span(mates[mate]).subspan(done[mate], share)});
      done[mate] += share;
    }
    const std::vector<float> step = runner.step(feeds);
    const auto first = step.begin() + static_cast<std::ptrdiff_t>(tokens_before * vocab_size);
    logits.insert(logits.end(), first, first + static_cast<std::ptrdiff_t>(count * vocab_size));
  }
  expect_same_bits(logits, reference_, "among others");
}

INSTANTIATE_TEST_SUITE_P(Models, IdentityTest,
                         ::testing::Combine(::testing::ValuesIn(kModels),
                                            ::testing::Values(KvType::f32, KvType::int8)),
                         [](const auto& tested) {
                           return fmt::format("{}_{}", std::get<0>(tested.param),
                                              to_string(std::get<1>(tested.param)));
                         });

// Only wanted rows are computed, and they are the same.
TEST(LogitsRows, AnySubset) {
  ThreadPool pool(2);
  const auto model = load(model_folder("qwen2"), best_isa(), pool);
  const auto vocab_size = static_cast<size_t>(model->info().vocab_size);
  const std::vector<int32_t> ids = made_up_ids(40, model->info().vocab_size, 5);
  ModelRunner whole(*model, pool, {.isa = best_isa()});
  const std::vector<float> all = whole.run(ids, ids.size());
  std::vector<int32_t> positions(ids.size());
  std::iota(positions.begin(), positions.end(), 0);
  for (const std::vector<int32_t>& rows : std::vector<std::vector<int32_t>>{{}, {0}, {39}, {3, 4, 17, 39}}) {
    ModelRunner runner(*model, pool, {.isa = best_isa()});
    const SequenceSlice slice = {0, static_cast<int32_t>(ids.size()), 0, runner.page_table(0)};
    const std::vector<float> some = runner.forward(ids, positions, std::span(&slice, 1), rows);
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto row = static_cast<size_t>(rows[i]);
      expect_same_bits(std::span(some).subspan(i * vocab_size, vocab_size),
                       std::span(all).subspan(row * vocab_size, vocab_size), fmt::format("row {}", row));
    }
  }
}

// Beyond one attention segment threads share a token's context; models with and without a window, both cache
// types.
class LongContextTest : public ::testing::TestWithParam<std::tuple<const char*, KvType>> {};

TEST_P(LongContextTest, ThreadsAndChunks) {
  constexpr size_t kTokens = 1100;
  ThreadPool one_thread(1);
  ThreadPool two_threads(2);
  const auto [name, kv_type] = GetParam();
  const auto model = load(model_folder(name), best_isa(), one_thread, kv_type);
  const std::vector<int32_t> ids = made_up_ids(kTokens, model->info().vocab_size, 77);
  const ModelRunner::Options options = {.isa = best_isa(), .max_tokens = kTokens, .max_context = kTokens};
  const std::vector<float> reference = ModelRunner(*model, one_thread, options).run(ids, kTokens);
  ModelRunner split(*model, two_threads, options);
  std::vector<float> logits = split.run(std::span(ids).first(kTokens - 100), 256);
  const std::vector<float> decoded = split.run(std::span(ids).last(100), 1);
  logits.insert(logits.end(), decoded.begin(), decoded.end());
  expect_same_bits(logits, reference, name);
}

INSTANTIATE_TEST_SUITE_P(Models, LongContextTest,
                         ::testing::Combine(::testing::Values("llama_gqa", "mistral"),
                                            ::testing::Values(KvType::f32, KvType::bf16, KvType::int8)));

}  // namespace
}  // namespace pagoda::testing
