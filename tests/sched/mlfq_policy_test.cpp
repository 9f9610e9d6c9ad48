// The named ones below are what FastServe's released code gets wrong.
#include "sched/mlfq_policy.h"

#include <cmath>
#include <deque>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pagoda {
namespace {

using ::testing::ElementsAre;
using Pages = SchedulerPolicy::Pages;

constexpr int64_t kMillisecond = 1'000'000;
constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kNoLimit = 1'000'000;

class MlfqPolicyTest : public ::testing::Test {
 protected:
  ScheduledSequence& arrive(double prefill_seconds, uint64_t client = 0, int64_t arrival_ns = 0,
                            double backlog_seconds = 0, int64_t max_generated = kNoLimit) {
    sequences_.push_back({.id = sequences_.size() + 1,
                          .arrival_ns = arrival_ns,
                          .client = client,
                          .max_generated = max_generated,
                          .alone_seconds = prefill_seconds,
                          .prefill_seconds = prefill_seconds,
                          .token_seconds = 0.004,
                          .backlog_seconds = backlog_seconds});
    policy_.on_arrival(sequences_.back());
    policy_.push(sequences_.back());
    return sequences_.back();
  }
  // Outputs of that many tokens without prompts have ended.
  void learn(int64_t num_tokens, int num_outputs = 500) {
    for (int i = 0; i < num_outputs; ++i) {
      ScheduledSequence ended{.id = ~SequenceId{0}, .num_generated = 0, .token_seconds = 0.004};
      policy_.on_arrival(ended);
      ended.num_generated = num_tokens;
      policy_.output_lengths().add(ended.num_generated);
      policy_.on_finish(ended, 0);
    }
  }
  ScheduledSequence& start_first() {
    ScheduledSequence* first = policy_.first();
    policy_.start(*first);
    return *first;
  }
  std::vector<SequenceId> drain() {
    std::vector<SequenceId> ids;
    while (policy_.first() != nullptr) ids.push_back(start_first().id);
    return ids;
  }

  MlfqPolicy policy_;
  std::deque<ScheduledSequence> sequences_;
};

TEST_F(MlfqPolicyTest, JoinsTheFirstLevelThatHoldsPromptAndOutput) {
  learn(100);  // 0.4 s
  const ScheduledSequence& plain = arrive(0.0);
  EXPECT_GE(MlfqPolicy::quantum_seconds(plain.level), 0.4);
  EXPECT_LT(MlfqPolicy::quantum_seconds(plain.level - 1), 0.4);
  EXPECT_EQ(arrive(0.05).level, plain.level) << "it is within the same quantum";
  EXPECT_EQ(arrive(0.2).level, plain.level + 1);
  EXPECT_EQ(arrive(1.2).level, plain.level + 4);
  EXPECT_EQ(arrive(1e12).level, MlfqPolicy::kNumLevels - 1);
}

TEST_F(MlfqPolicyTest, LevelsLearnHowLongOutputsAre) {
  learn(20);
  const ScheduledSequence& among_short_ones = arrive(0.01);
  learn(1000, 5000);
  const ScheduledSequence& among_long_ones = arrive(0.01);
  EXPECT_GT(among_long_ones.level, among_short_ones.level + 8);
}

TEST_F(MlfqPolicyTest, ThoseThatAskForLittleGoFirst) {
  learn(1000);
  arrive(0.01);
  arrive(0.01, 0, 0, 0, 200);
  arrive(0.01, 0, 0, 0, 10);
  EXPECT_THAT(drain(), ElementsAre(3, 2, 1));
}

// A token of a batch costs less than one by itself.
TEST_F(MlfqPolicyTest, ATokenCostsItsShareOfAStep) {
  learn(100);
  const ScheduledSequence& alone = arrive(0.01);
  ScheduledSequence& batched = arrive(0.01);
  batched.num_generated = 2;
  for (int i = 0; i < 2000; ++i) policy_.on_progress(batched, batched.token_seconds / 4, 0);
  EXPECT_EQ(arrive(0.0).level, alone.level - 4);
}

TEST_F(MlfqPolicyTest, ClassesAreLevels) {
  ScheduledSequence later{
      .max_generated = kNoLimit, .alone_seconds = 0.1, .prefill_seconds = 0.1, .token_seconds = 0.004};
  ScheduledSequence& here = arrive(0.1);
  EXPECT_EQ(policy_.class_of(later), here.level);
  EXPECT_EQ(policy_.class_of(here), here.level);
  policy_.advance(1000 * kSecond);
  EXPECT_EQ(policy_.class_of(here), 0) << "aged";
}

TEST_F(MlfqPolicyTest, ShortPromptsOvertakeLongOnes) {
  arrive(10);
  arrive(0.02);
  arrive(0.5);
  arrive(0.02);
  EXPECT_THAT(drain(), ElementsAre(2, 4, 3, 1));
}

TEST_F(MlfqPolicyTest, MovesUpAsItsPromptIsComputed) {
  ScheduledSequence& sequence = arrive(10);
  start_first();
  const int32_t first = sequence.level;
  sequence.prefill_seconds = 0.1;
  policy_.on_progress(sequence, 9.9, 0);
  EXPECT_LT(sequence.level, first);
}

TEST_F(MlfqPolicyTest, MovesDownAsItGeneratesWhereLongOutputsGoOn) {
  ScheduledSequence& sequence = arrive(0.03);
  start_first();
  int32_t level = sequence.level;
  int32_t num_moves = 0;
  for (sequence.num_generated = 2; sequence.num_generated < 1000; ++sequence.num_generated) {
    policy_.on_progress(sequence, 0.004, 0);
    EXPECT_GE(sequence.level, level);
    num_moves += sequence.level > level ? 1 : 0;
    level = sequence.level;
  }
  EXPECT_GE(num_moves, 5);
}

TEST_F(MlfqPolicyTest, MovesUpWhereOutputsOfItsAgeAreAboutToEnd) {
  learn(110);
  ScheduledSequence& sequence = arrive(0.03);
  start_first();
  const int32_t first = sequence.level;
  sequence.prefill_seconds = 0;
  for (sequence.num_generated = 2; sequence.num_generated < 110; ++sequence.num_generated)
    policy_.on_progress(sequence, 0.004, 0);
  EXPECT_LT(sequence.level, first - 2);
  for (; sequence.num_generated < 130; ++sequence.num_generated) policy_.on_progress(sequence, 0.004, 0);
  EXPECT_GT(sequence.level, first) << "it has outlasted all others";
}

TEST_F(MlfqPolicyTest, PreemptsLowerLevelsOnly) {
  const ScheduledSequence& low = arrive(1);
  const ScheduledSequence& high = arrive(0.01);
  const ScheduledSequence& peer = arrive(0.01);
  for (const Pages pages : {Pages::kept, Pages::may_be_lost}) {
    EXPECT_TRUE(policy_.preempts(high, low, pages));
    EXPECT_FALSE(policy_.preempts(low, high, pages));
    EXPECT_FALSE(policy_.preempts(peer, high, pages));
  }
}

TEST_F(MlfqPolicyTest, OneThatGeneratesGivesWayToMuchHigherLevelsWhereItsPagesAreKept) {
  ScheduledSequence& generating = arrive(0.01);
  start_first();
  const ScheduledSequence& short_one = arrive(0.01);
  for (generating.num_generated = 1; generating.level < short_one.level + MlfqPolicy::kGap;
       ++generating.num_generated) {
    EXPECT_FALSE(policy_.preempts(short_one, generating, Pages::kept));
    policy_.on_progress(generating, 0.004, 0);
    ASSERT_LT(generating.num_generated, 10'000);
  }
  EXPECT_TRUE(policy_.preempts(short_one, generating, Pages::kept));
  EXPECT_FALSE(policy_.preempts(short_one, generating, Pages::may_be_lost));
}

// There: a round puts what ran back at the front in loop order, so peers are reversed every time.
TEST_F(MlfqPolicyTest, FastServePeersKeepTheirOrderAfterTheyRan) {
  for (int i = 0; i < 4; ++i) arrive(0.1);
  for (int round = 0; round < 3; ++round) {
    EXPECT_THAT(drain(), ElementsAre(1, 2, 3, 4));
    for (ScheduledSequence& sequence : sequences_) policy_.on_progress(sequence, 0.001, 0);
    for (ScheduledSequence& sequence : sequences_) policy_.push(sequence);
  }
}

// There: a demoted job jumps ahead of those that wait at its new level.
TEST_F(MlfqPolicyTest, FastServeADemotedSequenceJoinsBehindItsNewPeers) {
  ScheduledSequence& demoted = arrive(0.01);
  start_first();
  const ScheduledSequence& peer = arrive(0.1);
  for (demoted.num_generated = 2; demoted.level < peer.level; ++demoted.num_generated)
    policy_.on_progress(demoted, 0.004, 0);
  ASSERT_EQ(demoted.level, peer.level);
  policy_.push(demoted);
  EXPECT_THAT(drain(), ElementsAre(2, 1));
}

// There: promotion does not clear what was used, and the next step demotes again.
TEST_F(MlfqPolicyTest, FastServeAPromotedSequenceStaysPromoted) {
  ScheduledSequence& old = arrive(1.0);
  start_first();
  policy_.on_progress(old, 1.02, 0);
  policy_.push(old);
  policy_.advance(1000 * kSecond);
  ASSERT_EQ(old.level, MlfqPolicy::kAged);
  arrive(0.001, 0, 1000 * kSecond);
  EXPECT_EQ(&start_first(), &old);
  for (int i = 0; i < 100; ++i) policy_.on_progress(old, 1.0, 0);
  EXPECT_EQ(old.level, MlfqPolicy::kAged);
}

// There: starvation is looked for every 1000 iterations, after a fixed time.
TEST_F(MlfqPolicyTest, FastServeAgeingIsByProportionAndAtOnce) {
  const ScheduledSequence& small = arrive(0.1);
  const ScheduledSequence& large = arrive(10.0);
  // 30 times what each takes by itself, 16 tokens included.
  policy_.advance(4'919 * kMillisecond);
  EXPECT_NE(small.level, MlfqPolicy::kAged);
  policy_.advance(4'921 * kMillisecond);
  EXPECT_EQ(small.level, MlfqPolicy::kAged);
  EXPECT_NE(large.level, MlfqPolicy::kAged);
  policy_.advance(302 * kSecond);
  EXPECT_EQ(large.level, MlfqPolicy::kAged);
}

// There: an abort looks for a field that is not there and leaves the job in its queue.
TEST_F(MlfqPolicyTest, FastServeOneThatEndsWhileItWaitsIsGone) {
  arrive(0.1);
  ScheduledSequence& gone = arrive(0.01);
  policy_.remove(gone);
  policy_.on_finish(gone, 0);
  policy_.advance(1000 * kSecond);
  EXPECT_THAT(drain(), ElementsAre(1));
}

TEST_F(MlfqPolicyTest, NobodyStarvesUnderEndlessShortOnes) {
  ScheduledSequence& long_one = arrive(2.0);
  // A machine that is always busy with short ones, ten waiting at any time.
  int64_t now_ns = 0;
  for (; policy_.first() != &long_one || now_ns == 0; now_ns += 20 * kMillisecond) {
    arrive(0.02, 0, now_ns);
    policy_.advance(now_ns);
    if (policy_.first() == &long_one) break;
    ScheduledSequence& served = start_first();
    served.num_generated = 1;
    policy_.on_finish(served, now_ns + 20 * kMillisecond);
    ASSERT_LT(now_ns, 5000 * kSecond);
  }
  EXPECT_LE(static_cast<double>(now_ns) * 1e-9, 1.01 * MlfqPolicy::kPatience * (2.0 + 16 * 0.004));
}

// A limit on the slowdown alone would promote everybody under overload.
TEST_F(MlfqPolicyTest, OneThatComesToMuchWorkAgesLater) {
  const ScheduledSequence& idle = arrive(0.1);
  const ScheduledSequence& overloaded = arrive(0.1, 0, 0, /*backlog_seconds=*/100);
  policy_.advance(299 * kSecond);
  EXPECT_EQ(idle.level, MlfqPolicy::kAged);
  EXPECT_NE(overloaded.level, MlfqPolicy::kAged);
  policy_.advance(301 * kSecond);
  EXPECT_EQ(overloaded.level, MlfqPolicy::kAged);
}

TEST_F(MlfqPolicyTest, TheLongestFewAgeLater) {
  for (int i = 0; i < 1000; ++i) arrive(0.001 * i);
  const ScheduledSequence& usual = arrive(0.5, 0, 0, /*backlog_seconds=*/100);
  const ScheduledSequence& long_one = arrive(0.98, 0, 0, /*backlog_seconds=*/100);
  const ScheduledSequence& longest = arrive(2, 0, 0, /*backlog_seconds=*/100);
  policy_.advance(299 * kSecond);
  EXPECT_NE(usual.level, MlfqPolicy::kAged);
  EXPECT_NE(long_one.level, MlfqPolicy::kAged);
  policy_.advance(301 * kSecond);
  EXPECT_EQ(usual.level, MlfqPolicy::kAged);
  EXPECT_EQ(long_one.level, MlfqPolicy::kAged);
  policy_.advance(4799 * kSecond);
  EXPECT_NE(longest.level, MlfqPolicy::kAged);
  policy_.advance(4801 * kSecond);
  EXPECT_EQ(longest.level, MlfqPolicy::kAged);
}

TEST_F(MlfqPolicyTest, ALimitThatAllowsALongOutputMakesARequestLongWhereOutputsReachIt) {
  for (int i = 0; i < 1000; ++i) policy_.output_lengths().add(100 + i % 100, OutputLengths::End::cut);
  for (int i = 0; i < 1000; ++i) arrive(0.0, 0, 0, 0, /*max_generated=*/100);
  const ScheduledSequence& usual = arrive(0.0, 0, 0, /*backlog_seconds=*/100, /*max_generated=*/100);
  const ScheduledSequence& longest = arrive(0.0, 0, 0, /*backlog_seconds=*/100, /*max_generated=*/1000);
  policy_.advance(301 * kSecond);
  EXPECT_EQ(usual.level, MlfqPolicy::kAged);
  EXPECT_NE(longest.level, MlfqPolicy::kAged);
}

TEST_F(MlfqPolicyTest, AgedOnesGoInOrderOfArrival) {
  arrive(3);
  arrive(0.01, 0, 0, /*backlog_seconds=*/50);
  arrive(2);
  policy_.advance(1000 * kSecond);
  arrive(0.001, 0, 1000 * kSecond);
  EXPECT_THAT(drain(), ElementsAre(1, 2, 3, 4));
}

TEST_F(MlfqPolicyTest, ClientsTakeTurnsWithinALevel) {
  for (int i = 0; i < 4; ++i) arrive(0.1, /*client=*/1);
  for (int i = 0; i < 2; ++i) arrive(0.1, /*client=*/2);
  arrive(0.1, /*client=*/3);
  EXPECT_THAT(drain(), ElementsAre(1, 5, 7, 2, 6, 3, 4));
}

TEST_F(MlfqPolicyTest, AClientThatComesLateHasNotSavedUpTurns) {
  for (int i = 0; i < 6; ++i) arrive(0.1, /*client=*/1);
  for (int i = 0; i < 4; ++i) start_first();
  for (int i = 0; i < 3; ++i) arrive(0.1, /*client=*/2);
  // It goes first once and then takes turns; it does not get four at once.
  EXPECT_THAT(drain(), ElementsAre(7, 5, 8, 6, 9));
}

}  // namespace
}  // namespace pagoda
