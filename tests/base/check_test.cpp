#include "base/check.h"

#include <gtest/gtest.h>

namespace pagoda {
namespace {

TEST(CheckDeathTest, PrintsPlaceConditionAndValues) {
  const int rank = 5;
  EXPECT_DEATH(PAGODA_CHECK(rank < 5, "rank = {}", rank),
               "bug at .*check_test.cpp:[0-9]+: .*rank < 5 rank = 5");
  EXPECT_DEATH(PAGODA_CHECK(rank == 4), "check failed: rank == 4");
}

TEST(Check, EvaluatesItsConditionOnceAndNoValuesOnSuccess) {
  int num_conditions = 0;
  int num_values = 0;
  PAGODA_CHECK(++num_conditions == 1, "{}", ++num_values);
  EXPECT_EQ(num_conditions, 1);
  EXPECT_EQ(num_values, 0);
}

}  // namespace
}  // namespace pagoda
