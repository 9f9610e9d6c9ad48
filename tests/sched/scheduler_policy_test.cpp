#include "sched/scheduler_policy.h"

#include <algorithm>
#include <deque>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pagoda {
namespace {

using ::testing::ElementsAre;

// The ids of those that wait, in order; they leave the queue.
std::vector<SequenceId> drain(SchedulerPolicy& policy) {
  std::vector<SequenceId> ids;
  while (ScheduledSequence* first = policy.first()) {
    ids.push_back(first->id);
    policy.start(*first);
  }
  return ids;
}

void arrive(SchedulerPolicy& policy, ScheduledSequence& sequence) {
  policy.on_arrival(sequence);
  policy.push(sequence);
}

TEST(SchedulerPolicy, RegistryKnowsItsNames) {
  EXPECT_THAT(scheduler_policy_names(), ElementsAre("fcfs", "priority", "lpm", "mlfq", "srpt"));
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
  ScheduledSequence old_one{.id = 1, .arrival_ns = 10, .priority = 5, .prefill_seconds = 100};
  ScheduledSequence new_one{.id = 2, .arrival_ns = 20, .priority = -5, .prefill_seconds = 1};
  arrive(*policy, new_one);
  arrive(*policy, old_one);
  EXPECT_THAT(drain(*policy), ElementsAre(1, 2));
  EXPECT_TRUE(policy->before(old_one, new_one));
  EXPECT_FALSE(policy->preempts(new_one, old_one, SchedulerPolicy::Pages::may_be_lost));
  policy->push(new_one);
  policy->push(old_one);
  EXPECT_THAT(drain(*policy), ElementsAre(1, 2)) << "a preempted one has its old place";
}

TEST(PriorityPolicy, LowerNumbersGoFirstThenArrival) {
  auto policy = *make_scheduler_policy("priority");
  std::deque<ScheduledSequence> sequences = {{.id = 1, .priority = 1},
                                             {.id = 2, .priority = 0},
                                             {.id = 3, .priority = -1},
                                             {.id = 4, .priority = 0}};
  for (ScheduledSequence& sequence : sequences) arrive(*policy, sequence);
  EXPECT_THAT(drain(*policy), ElementsAre(3, 2, 4, 1));
  EXPECT_TRUE(policy->preempts(sequences[2], sequences[1], SchedulerPolicy::Pages::may_be_lost));
  EXPECT_FALSE(policy->preempts(sequences[1], sequences[3], SchedulerPolicy::Pages::may_be_lost))
      << "not among equals";
}

TEST(LpmPolicy, TheLongestCachedPrefixGoesFirst) {
  auto policy = *make_scheduler_policy("lpm");
  std::deque<ScheduledSequence> sequences = {{.id = 1, .arrival_ns = 0, .saved_seconds = 0},
                                             {.id = 2, .arrival_ns = 1, .saved_seconds = 0.5},
                                             {.id = 3, .arrival_ns = 2, .saved_seconds = 2}};
  for (ScheduledSequence& sequence : sequences) arrive(*policy, sequence);
  EXPECT_THAT(drain(*policy), ElementsAre(3, 2, 1));
}

TEST(LpmPolicy, NobodyIsOvertakenForEver) {
  auto policy = *make_scheduler_policy("lpm");
  ScheduledSequence miss{.id = 1, .arrival_ns = 0};
  arrive(*policy, miss);
  // Hits keep coming, one each second; each saves a second.
  std::deque<ScheduledSequence> hits;
  int64_t now_ns = 0;
  for (SequenceId id = 2; policy->first() != &miss || id == 2; ++id) {
    now_ns += 1'000'000'000;
    hits.push_back({.id = id, .arrival_ns = now_ns, .saved_seconds = 1});
    arrive(*policy, hits.back());
    if (policy->first() != &miss) policy->start(*policy->first());
    ASSERT_LT(id, 100u);
  }
  EXPECT_LE(now_ns, 22'000'000'000);
}

TEST(SrptPolicy, TheShortestRemainderGoesFirst) {
  auto policy = *make_scheduler_policy("srpt");
  std::deque<ScheduledSequence> sequences = {
      {.id = 1, .max_generated = 10, .prefill_seconds = 5, .token_seconds = 0.1},
      {.id = 2, .max_generated = 100, .prefill_seconds = 1, .token_seconds = 0.1},
      {.id = 3, .max_generated = 100, .num_generated = 90, .prefill_seconds = 1, .token_seconds = 0.1}};
  for (ScheduledSequence& sequence : sequences) arrive(*policy, sequence);
  EXPECT_THAT(drain(*policy), ElementsAre(3, 1, 2));
  EXPECT_TRUE(policy->preempts(sequences[0], sequences[1], SchedulerPolicy::Pages::may_be_lost));
  EXPECT_FALSE(policy->preempts(sequences[1], sequences[0], SchedulerPolicy::Pages::may_be_lost));
}

// Every policy against a list that is sorted anew for each question.
TEST(SchedulerPolicy, QueuesAgreeWithASortedListUnderRandomOperations) {
  for (const std::string_view name : scheduler_policy_names()) {
    auto policy = *make_scheduler_policy(name);
    std::mt19937 random(11);
    const auto below = [&](uint32_t bound) { return random() % bound; };
    std::deque<ScheduledSequence> all;
    std::vector<ScheduledSequence*> waiting;
    std::vector<ScheduledSequence*> running;
    const auto take = [&](std::vector<ScheduledSequence*>& from) {
      const auto i = static_cast<std::ptrdiff_t>(below(static_cast<uint32_t>(from.size())));
      ScheduledSequence* sequence = from[static_cast<size_t>(i)];
      from.erase(from.begin() + i);
      return sequence;
    };
    int64_t now_ns = 0;
    for (int i = 0; i < 4000; ++i) {
      now_ns += below(20'000'000);
      const uint32_t what = below(6);
      if (what <= 1) {
        const double prefill = 0.001 * below(1000);
        all.push_back({.id = all.size() + 1,
                       .arrival_ns = now_ns,
                       .priority = static_cast<int32_t>(below(3)),
                       .client = below(3),
                       .max_generated = static_cast<int64_t>(1 + below(100)),
                       .alone_seconds = prefill,
                       .prefill_seconds = prefill,
                       .saved_seconds = 0.001 * below(100),
                       .token_seconds = 0.005});
        arrive(*policy, all.back());
        waiting.push_back(&all.back());
      } else if (what == 2 && !waiting.empty()) {
        ScheduledSequence* first = policy->first();
        std::erase(waiting, first);
        policy->start(*first);
        running.push_back(first);
      } else if (what == 3 && !running.empty()) {
        ScheduledSequence* victim = take(running);
        policy->push(*victim);
        waiting.push_back(victim);
      } else if (what == 4 && !running.empty()) {
        ScheduledSequence* sequence = running[below(static_cast<uint32_t>(running.size()))];
        policy->on_progress(*sequence, 0.001 * below(30), now_ns);
        ++sequence->num_generated;
      } else if (what == 5 && !waiting.empty() && below(2) == 0) {
        ScheduledSequence* gone = take(waiting);
        policy->remove(*gone);
        policy->on_finish(*gone, now_ns);
      } else if (what == 5 && !running.empty()) {
        policy->on_finish(*take(running), now_ns);
      }
      policy->advance(now_ns);
      const auto expected = std::ranges::min_element(
          waiting, [&](const auto* a, const auto* b) { return policy->before(*a, *b); });
      ASSERT_EQ(policy->first(), waiting.empty() ? nullptr : *expected) << name << " after " << i;
    }
  }
}

}  // namespace
}  // namespace pagoda
