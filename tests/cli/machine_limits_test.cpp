#include "kernels/machine_limits.h"

#include <gtest/gtest.h>

namespace pagoda {
namespace {

TEST(MachineLimits, EveryIsaGivesPositiveFigures) {
  ThreadPool pool(2);
  for (const Isa isa : available_isas(detect_cpu())) {
    const auto limits = measure_machine_limits(isa, pool, uint64_t{64} << 20);
    ASSERT_TRUE(limits) << limits.error().message;
    EXPECT_GT(limits->read_bytes_per_second, 0) << to_string(isa);
    EXPECT_GT(limits->int8_ops_per_second, 0) << to_string(isa);
    EXPECT_GT(limits->f32_ops_per_second, 0) << to_string(isa);
    const bool has_bf16 = isa >= Isa::avx512_bf16;
    EXPECT_EQ(limits->bf16_ops_per_second > 0, has_bf16) << to_string(isa);
  }
}

}  // namespace
}  // namespace pagoda
