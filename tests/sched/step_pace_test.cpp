#include "sched/step_pace.h"

#include <gtest/gtest.h>

#include "sched/cost_model.h"

namespace pagoda {
namespace {

TEST(StepPace, IsWhatPassesByWhatWasPredicted) {
  StepPace pace;
  EXPECT_EQ(pace.seconds(), 1);
  for (int i = 0; i < 1000; ++i) pace.add(0.1, 0.125);
  EXPECT_NEAR(pace.seconds(), 1.25, 1e-3);
}

TEST(StepPace, ForgetsHowItWas) {
  StepPace pace;
  for (int i = 0; i < 1000; ++i) pace.add(0.1, 0.2);
  for (int i = 0; i < 100; ++i) pace.add(0.1, 0.1);  // as long as its memory
  EXPECT_NEAR(pace.seconds(), 1.37, 0.01);
}

TEST(StepPace, OneStepChangesLittle) {
  StepPace pace;
  pace.add(0.01, 0.5);
  EXPECT_LT(pace.seconds(), 1.5);
  EXPECT_GT(pace.seconds(), 1.4);
  for (int i = 0; i < 100; ++i) pace.add(0.01, 10);
  EXPECT_EQ(pace.seconds(), StepPace::kMost);
  pace.add(1000, 0);
  EXPECT_EQ(pace.seconds(), StepPace::kMost) << "the clock stood still";
}

TEST(StepPace, MakesUpForAModelOfTheUsualStep) {
  // Every fourth step is disturbed.
  constexpr StepWork kWork{.num_sequences = 1, .num_tokens = 1, .num_logits_rows = 1};
  CostVector seed{};
  seed[static_cast<size_t>(CostTerm::pass)] = 0.01;
  CostModel costs(AttentionReach(), seed);
  StepPace pace;
  double predicted = 0;
  double passed = 0;
  double foretold = 0;
  for (int i = 0; i < 4000; ++i) {
    const double seconds = i % 4 == 3 ? 0.03 : 0.01;
    if (i >= 2000) {
      predicted += costs.predict(kWork);
      foretold += pace.seconds() * costs.predict(kWork);
      passed += seconds;
    }
    pace.add(costs.predict(kWork), seconds);
    costs.observe(kWork, seconds);
  }
  EXPECT_LT(predicted, 0.8 * passed);
  EXPECT_NEAR(foretold, passed, 0.02 * passed);
}

}  // namespace
}  // namespace pagoda
