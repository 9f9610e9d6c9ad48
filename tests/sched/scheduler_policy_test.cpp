#include "sched/scheduler_policy.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pagoda {
namespace {

TEST(SchedulerPolicy, RegistryKnowsItsNames) {
  for (const std::string_view name : scheduler_policy_names()) {
    const auto policy = make_scheduler_policy(name);
    ASSERT_TRUE(policy) << name;
    EXPECT_EQ((*policy)->name(), name);
  }
}

TEST(SchedulerPolicy, UnknownNameListsTheKnownOnes) {
  const auto policy = make_scheduler_policy("lifo");
  ASSERT_FALSE(policy);
  EXPECT_EQ(policy.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(policy.error().message, ::testing::HasSubstr("'lifo'"));
  EXPECT_THAT(policy.error().message, ::testing::HasSubstr("fcfs"));
}

TEST(FcfsPolicy, OrderIsThatOfArrivalWhateverHappens) {
  auto policy = *make_scheduler_policy("fcfs");
  // A long old sequence that has made no progress and a short new one of high priority.
  const ScheduledSequence old_one{.id = 1, .arrival_ns = 10, .priority = 5, .num_prompt_tokens = 10000};
  const ScheduledSequence new_one{.id = 2, .arrival_ns = 20, .priority = -5, .num_prompt_tokens = 1};
  policy->on_arrival(old_one, 10);
  policy->on_arrival(new_one, 20);
  policy->on_progress(new_one, 1, 1000);
  EXPECT_LE(policy->rank(old_one, 1'000'000), policy->rank(new_one, 1'000'000)) << "ties go by id";
  policy->on_finish(1);
  policy->on_finish(2);
}

}  // namespace
}  // namespace pagoda
