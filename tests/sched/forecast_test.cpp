#include "sched/forecast.h"

#include <gtest/gtest.h>

namespace pagoda {
namespace {

TEST(Forecast, AnIdleEngineStartsAtOnce) {
  const Forecast idle = forecast({}, 0, 0.5);
  EXPECT_EQ(idle.queue_seconds, 0);
  EXPECT_DOUBLE_EQ(idle.prefill_seconds, 0.5);
}

TEST(Forecast, CountsWhatGoesFirst) {
  QueuedWork work;
  work.waiting_seconds[2] = 3;
  work.waiting_seconds[5] = 40;
  work.prompt_seconds[2] = 1;
  work.prompt_seconds[7] = 9;
  work.place_seconds = 0.25;
  EXPECT_DOUBLE_EQ(forecast(work, 1, 0.5).queue_seconds, 0.25);
  EXPECT_DOUBLE_EQ(forecast(work, 2, 0.5).queue_seconds, 3.25) << "its own class came before";
  EXPECT_DOUBLE_EQ(forecast(work, 5, 0.5).queue_seconds, 43.25);
  EXPECT_DOUBLE_EQ(forecast(work, 5, 0.5).prefill_seconds, 1.5);
  EXPECT_DOUBLE_EQ(forecast(work, kNumClasses - 1, 0.5).prefill_seconds, 10.5);
}

TEST(Forecast, ThoseThatGenerateTakeTheirShare) {
  QueuedWork work;
  work.decode_share = 0.5;
  EXPECT_DOUBLE_EQ(forecast(work, 0, 1).prefill_seconds, 2);
  work.decode_share = 5;
  EXPECT_LE(forecast(work, 0, 1).prefill_seconds, 10.001) << "prompts advance all the same";
}

}  // namespace
}  // namespace pagoda
