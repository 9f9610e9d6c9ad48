#include "sched/forecast.h"

#include <cmath>

#include <gtest/gtest.h>

#include "sched/arriving_work.h"

namespace pagoda {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

TEST(Forecast, AnIdleEngineStartsAtOnce) {
  const Forecast idle = forecast({}, 0, 0.5);
  EXPECT_EQ(idle.queue_seconds, 0);
  EXPECT_EQ(idle.prefill_seconds, 0.5);
  EXPECT_EQ(start_all_seconds({}), 0);
}

TEST(Forecast, CountsWhatGoesFirst) {
  QueuedWork work;
  work.waiting_seconds[2] = 3;
  work.waiting_seconds[5] = 40;
  work.prompt_seconds[1] = 1;
  work.prompt_seconds[kNumClasses - 1] = 9;
  work.place_seconds = 0.25;
  work.max_step_seconds = 0.1;
  // It comes in the middle of a step.
  EXPECT_DOUBLE_EQ(forecast(work, 1, 0.5).queue_seconds, 0.3);
  EXPECT_DOUBLE_EQ(forecast(work, 2, 0.5).queue_seconds, 3.3) << "its own class came before";
  EXPECT_DOUBLE_EQ(forecast(work, 5, 0.5).queue_seconds, 43.3);
  EXPECT_DOUBLE_EQ(forecast(work, 5, 0.5).prefill_seconds, 1.5);
  EXPECT_DOUBLE_EQ(forecast(work, kNumClasses - 1, 0.5).prefill_seconds, 10.5);
  EXPECT_DOUBLE_EQ(start_all_seconds(work), 43.25);
}

TEST(Forecast, IsInSecondsThatPass) {
  QueuedWork work{.place_seconds = 1, .decode_seconds = 0.02, .max_step_seconds = 0.1};
  work.waiting_seconds[0] = 3;
  work.prompt_seconds[0] = 0.8;
  const Forecast predicted = forecast(work, 0, 0.5);
  work.pace = 1.5;
  const Forecast passing = forecast(work, 0, 0.5);
  EXPECT_DOUBLE_EQ(passing.queue_seconds, 1.5 * predicted.queue_seconds);
  EXPECT_DOUBLE_EQ(passing.prefill_seconds, 1.5 * predicted.prefill_seconds);
  EXPECT_DOUBLE_EQ(start_all_seconds(work), 6);
  // What overtakes takes its time, too.
  work.arriving_share[0] = 0.4;
  EXPECT_DOUBLE_EQ(forecast(work, 1, 0).queue_seconds, 1.5 * (0.05 + 4 / (1 - 0.6)));
}

TEST(Forecast, WhoTakesAPlaceDoesNotWaitForOne) {
  QueuedWork work;
  work.place_seconds = 4;
  work.num_place_takers = 3;
  EXPECT_EQ(forecast(work, 2, 0).queue_seconds, 0);
  EXPECT_EQ(forecast(work, 3, 0).queue_seconds, 4);
}

TEST(Forecast, WhatComesLaterOvertakes) {
  QueuedWork work;
  work.waiting_seconds[2] = 3;
  work.place_seconds = 1;
  work.arriving_share[1] = 0.5;
  work.arriving_share[4] = 0.4;
  EXPECT_DOUBLE_EQ(forecast(work, 1, 0).queue_seconds, 1) << "those of its own class come after it";
  EXPECT_DOUBLE_EQ(forecast(work, 2, 0).queue_seconds, 8);
  EXPECT_DOUBLE_EQ(start_all_seconds(work), 4);
  work.arriving_share[0] = 2;
  EXPECT_GT(forecast(work, 2, 0).queue_seconds, 20);
  EXPECT_LT(forecast(work, 2, 0).queue_seconds, 40) << "overload does not last for ever";
}

TEST(Forecast, ThoseThatGenerateTakeTheirShareOfEachStep) {
  QueuedWork work{.decode_seconds = 0.05, .max_step_seconds = 0.1};
  EXPECT_DOUBLE_EQ(forecast(work, 0, 1).prefill_seconds, 2);
  EXPECT_DOUBLE_EQ(forecast(work, 0, 0.01).prefill_seconds, 0.06) << "a whole step, however short the prompt";
  EXPECT_DOUBLE_EQ(forecast(work, 0, 0.01).queue_seconds, 0.025) << "and half of the one before it";
  work.decode_seconds = 0.3;
  EXPECT_DOUBLE_EQ(forecast(work, 0, 0.1).prefill_seconds, 3.1) << "prompts advance all the same";
}

TEST(ArrivingWork, IsAShareOfTime) {
  ArrivingWork work;
  for (int64_t i = 0; i < 1000; ++i) work.add(i % 2 == 0 ? 0 : 3, 0.5, i * kSecond);
  const ByClass shares = work.shares(1000 * kSecond);
  EXPECT_NEAR(shares[0], 0.25, 0.01);
  EXPECT_NEAR(shares[3], 0.25, 0.01);
  EXPECT_EQ(shares[1], 0);
}

TEST(ArrivingWork, FadesWhileNothingComes) {
  ArrivingWork work;
  for (int64_t i = 0; i < 1000; ++i) work.add(0, 0.5, i * kSecond);
  const double busy = work.shares(1000 * kSecond)[0];
  EXPECT_NEAR(work.shares(1120 * kSecond)[0] / busy, std::exp(-1), 1e-9);
  EXPECT_EQ(work.shares(900 * kSecond)[0], work.shares(999 * kSecond)[0]) << "no time goes back";
}

}  // namespace
}  // namespace pagoda
