// What benchmarks count, and what their shares mean.
#include <gtest/gtest.h>
#include <unistd.h>

#include "cli/bench.h"
#include "cli/child_process.h"
#include "cli/file_cache.h"
#include "cli/kernel_bench.h"
#include "cli/resident_memory.h"
#include "support/temp_folder.h"

namespace pagoda {
namespace {

TEST(Achieved, SharesAreOfTheBindingLimit) {
  MachineLimits limits;
  limits.read_bytes_per_second = 50;
  limits.int8_ops_per_second = 1000;
  limits.f32_ops_per_second = 100;
  Work work;
  work.bytes = 100;  // 2 s at the limit
  work.int8_ops = 1000;
  work.f32_ops = 50;  // together 1.5 s
  const Achieved at = achieved(limits, work, 4);
  EXPECT_DOUBLE_EQ(at.bytes_per_second, 25);
  EXPECT_DOUBLE_EQ(at.bandwidth_share, 0.5);
  EXPECT_DOUBLE_EQ(at.ops_per_second, 1050.0 / 4);
  EXPECT_DOUBLE_EQ(at.arithmetic_share, 1.5 / 4);
  EXPECT_DOUBLE_EQ(at.limit_share, 0.5);
  work.bytes = 10;
  EXPECT_DOUBLE_EQ(achieved(limits, work, 4).limit_share, 1.5 / 4);
  work.bf16_ops = 50;
  EXPECT_DOUBLE_EQ(achieved(limits, work, 4).limit_share, 2.0 / 4);
  limits.bf16_ops_per_second = 200;
  EXPECT_DOUBLE_EQ(achieved(limits, work, 4).limit_share, 1.75 / 4);
}

TEST(Work, LinearLayersCountAsTheirActivationsAre) {
  Work work;
  work.add_linear(ActivationFormat::q8_256, 10);
  work.add_linear(ActivationFormat::f32, 3);
  EXPECT_DOUBLE_EQ(work.int8_ops, 20);
  work.add_attention(KvType::bf16, 2);
  work.add_attention(KvType::f32, 1);
  EXPECT_DOUBLE_EQ(work.bf16_ops, 4);
  EXPECT_DOUBLE_EQ(work.f32_ops, 8);
  EXPECT_DOUBLE_EQ(work.ops(), 32);
}

TEST(Spread, OfOddAndEvenCounts) {
  const Spread odd = spread_of({3, 1, 2});
  EXPECT_EQ(odd.min, 1);
  EXPECT_EQ(odd.median, 2);
  EXPECT_EQ(odd.max, 3);
  EXPECT_EQ(spread_of({4, 1, 2, 3}).median, 2.5);
}

// Two layers, one of which sees 4 positions; K and V of a position and layer: 2 * 2 heads * 16 dims * 2
// bytes.
ModelInfo small_model() {
  ModelInfo info;
  info.kv_shape = {2, 2, 16, KvType::bf16};
  info.num_query_heads = 6;
  info.layer_windows = {0, 4};
  info.bytes_per_token = 1000;
  info.screened_bytes_per_token = 900;
  info.macs_per_token = 300;
  info.head_macs = 50;
  return info;
}

TEST(WorkPerToken, DecodeReadsItsContextAndTheWindow) {
  const BenchCase decode = {BenchKind::decode, 2, 10, 1, 256};
  const Work work = work_per_token(small_model(), decode, ArithmeticPeak::int8);
  // Positions 10 and 11 see 11 and 12 positions; 4 in the layer with a window.
  EXPECT_DOUBLE_EQ(work.bytes, 900 + 128 * (11.5 + 4));
  EXPECT_DOUBLE_EQ(work.int8_ops, 2 * 350);
  EXPECT_DOUBLE_EQ(work.bf16_ops, 4 * 6 * 16 * (11.5 + 4));
}

TEST(WorkPerToken, SequencesShareTheWeights) {
  const BenchCase batch = {BenchKind::batch, 1, 0, 4, 256};
  const Work work = work_per_token(small_model(), batch, ArithmeticPeak::f32);
  EXPECT_DOUBLE_EQ(work.bytes, 225 + 128 * 2);
  EXPECT_DOUBLE_EQ(work.int8_ops, 0);
  EXPECT_DOUBLE_EQ(work.f32_ops, 2 * 350);
  EXPECT_DOUBLE_EQ(work.bf16_ops, 4 * 6 * 16 * 2);
}

TEST(WorkPerToken, AllLogitsAndManySequencesNeedAllWeights) {
  BenchCase batch = {BenchKind::batch, 1, 0, 4, 256, true};
  EXPECT_DOUBLE_EQ(work_per_token(small_model(), batch, ArithmeticPeak::f32).bytes, 250 + 128 * 2);
  batch.all_logits = false;
  batch.sequences = 5;
  EXPECT_DOUBLE_EQ(work_per_token(small_model(), batch, ArithmeticPeak::f32).bytes, 200 + 128 * 2);
}

TEST(WorkPerToken, AStepOfAPromptReadsEachPositionOnce) {
  const BenchCase prefill = {BenchKind::prefill, 8, 0, 1, 4};
  const Work work = work_per_token(small_model(), prefill, ArithmeticPeak::int8);
  // Steps [0, 4) and [4, 8): 4 + 8 positions; in the window 4, then 1 … 7.
  EXPECT_DOUBLE_EQ(work.bytes, 1000.0 / 4 + 128 * (12 + 11) / 8.0);
  EXPECT_DOUBLE_EQ(work.int8_ops, 2 * (300 + 50.0 / 8));
  // 1 + 2 + … + 8, and 1 + 2 + 3 + 4 * 5 in the window.
  EXPECT_DOUBLE_EQ(work.bf16_ops, 4 * 6 * 16 * (36 + 26) / 8.0);
}

TEST(SecondsPerItem, CountsItemsUntilTheTimeIsOver) {
  ManualClock clock;
  int pieces = 0;
  const double seconds = seconds_per_item(clock, 1, [&] {
    clock.advance_ns(300'000'000);
    ++pieces;
    return 3;
  });
  EXPECT_EQ(pieces, 4);
  EXPECT_DOUBLE_EQ(seconds, 0.1);
  EXPECT_DOUBLE_EQ(seconds_per_item(clock, 0,
                                    [&] {
                                      clock.advance_ns(1'000'000'000);
                                      return 2;
                                    }),
                   0.5);
}

TEST(ChildProcess, BringsBackValuesAndErrors) {
  struct Pair {
    int64_t a;
    double b;
  };
  int here = 0;
  const auto value = compute_in_child<Pair>([&]() -> Result<Pair> {
    here = 1;
    return Pair{-7, 0.25};
  });
  ASSERT_TRUE(value) << value.error().message;
  EXPECT_EQ(value->a, -7);
  EXPECT_EQ(value->b, 0.25);
  EXPECT_EQ(here, 0) << "the child has memory of its own";

  const auto error =
      compute_in_child<Pair>([]() -> Result<Pair> { return fail(ErrorCode::unsupported, "no {}", "way"); });
  ASSERT_FALSE(error);
  EXPECT_EQ(error.error().code, ErrorCode::unsupported);
  EXPECT_EQ(error.error().message, "no way");

  const auto dead = compute_in_child<Pair>([]() -> Result<Pair> { _exit(3); });
  ASSERT_FALSE(dead);
  EXPECT_EQ(dead.error().code, ErrorCode::internal);
}

TEST(FileCache, ReadsEveryByteAndNamesMissingFiles) {
  const testing::TempFolder folder;
  const std::vector<std::string> files = {folder.write("a", std::string(size_t{5} << 20, 'a')),
                                          folder.write("b", "bb")};
  const auto bytes = total_file_bytes(files);
  ASSERT_TRUE(bytes);
  EXPECT_EQ(*bytes, (uint64_t{5} << 20) + 2);
  const auto rate = read_rate(files, 2);
  ASSERT_TRUE(rate) << rate.error().message;
  EXPECT_GT(*rate, 0);
  // Whether pages can be dropped is the file system's affair; a refusal says why.
  if (const Status dropped = drop_from_page_cache(files); !dropped) {
    EXPECT_EQ(dropped.error().code, ErrorCode::unsupported) << dropped.error().message;
    EXPECT_NE(dropped.error().message.find("memory"), std::string::npos);
  }
  const std::vector<std::string> missing = {"/no/such/file"};
  const auto rate_of_missing = read_rate(missing, 1);
  ASSERT_FALSE(rate_of_missing);
  EXPECT_NE(rate_of_missing.error().message.find(missing[0]), std::string::npos);
  EXPECT_FALSE(total_file_bytes(missing));
  EXPECT_FALSE(drop_from_page_cache(missing));
}

TEST(ResidentMemory, SeesWhatIsTouched) {
  const ResidentMemory before = resident_memory();
  std::vector<char> bytes(size_t{32} << 20, 'x');
  const ResidentMemory after = resident_memory();
  EXPECT_GT(before.total, 0u);
  EXPECT_GE(after.total, before.anonymous);
  EXPECT_GE(after.peak, after.total);
  EXPECT_GE(after.anonymous, before.anonymous + (size_t{16} << 20)) << bytes[17];
}

}  // namespace
}  // namespace pagoda
