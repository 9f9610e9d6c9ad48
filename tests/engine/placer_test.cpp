#include "engine/placer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sched/fcfs_policy.h"
#include "support/sequence_factory.h"

namespace pagoda {
namespace {

constexpr KvShape kShape = {.num_layers = 1, .num_kv_heads = 1, .head_dim = 2, .type = KvType::f32};

class PlacerTest : public ::testing::Test {
 protected:
  void add(int64_t num_prompt, int32_t num_sequences = 1) {
    auto request = factory_.make_request({.num_prompt = num_prompt, .num_sequences = num_sequences});
    sequences_.push_back(&request->leader());
    roster_.add(std::move(request));
  }
  // As if all planned items of that many tokens had been computed.
  void place(const std::vector<int32_t>& num_tokens) {
    plan_.items.clear();
    for (size_t i = 0; i < num_tokens.size(); ++i)
      if (num_tokens[i] > 0)
        plan_.items.push_back({sequences_[i], sequences_[i]->num_computed, num_tokens[i]});
    place_batch(plan_, roster_, kv_, exhausted_);
    for (const PlanItem& item : plan_.items) {
      kv_.commit(item.sequence->kv, item.end_position());
      item.sequence->num_computed = item.end_position();
    }
  }
  std::vector<Sequence*> planned() const {
    std::vector<Sequence*> result;
    for (const PlanItem& item : plan_.items) result.push_back(item.sequence);
    return result;
  }

  testing::SequenceFactory factory_;
  FcfsPolicy policy_;
  KvPool pool_ = *KvPool::create(kShape, 4);
  KvCache kv_{pool_, 4, 1000};
  CostModel costs_;
  StepPace pace_;
  Roster roster_{kv_, policy_, costs_, pace_, 4, 8};
  std::vector<Sequence*> sequences_;
  std::vector<Sequence*> exhausted_;
  BatchPlan plan_;
};

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

TEST_F(PlacerTest, AdmitsInOrderWhileThePagesSuffice) {
  add(31);  // with the token to come: 2 pages
  add(15);
  add(31);
  add(1);
  roster_.admit(0);
  EXPECT_THAT(roster_.running(), ElementsAre(sequences_[0], sequences_[1]));
  EXPECT_THAT(roster_.waiting(), UnorderedElementsAre(sequences_[2], sequences_[3])) << "nobody overtakes";
}

TEST_F(PlacerTest, AdmitsNoMoreSequencesThanPlaces) {
  add(1, 3);
  add(1, 2);
  roster_.admit(0);
  EXPECT_THAT(roster_.running(), ElementsAre(sequences_[0]));
  roster_.finish(*sequences_[0], 0);
  for (const auto& sequence : sequences_[0]->request.sequences) roster_.finish(*sequence, 0);
  roster_.erase(sequences_[0]->request.id);
  roster_.admit(0);
  EXPECT_THAT(roster_.running(), ElementsAre(sequences_[1]));
}

TEST_F(PlacerTest, FollowersNeedPagesOfTheirOwnAfterThePrompt) {
  add(15, 3);  // one page for the prompt, and two copies of it
  add(31);
  roster_.admit(0);
  EXPECT_THAT(roster_.running(), ElementsAre(sequences_[0]));
}

TEST_F(PlacerTest, TheFirstMayAlwaysRun) {
  add(64);
  roster_.admit(0);
  EXPECT_THAT(roster_.running(), ElementsAre(sequences_[0]));
}

TEST_F(PlacerTest, TheLastRankedGivesItsPagesUp) {
  add(15);
  add(15);
  roster_.admit(0);
  place({15, 15});
  EXPECT_THAT(planned(), ElementsAre(sequences_[0], sequences_[1]));
  place({34, 1});  // the first needs all four pages
  EXPECT_THAT(planned(), ElementsAre(sequences_[0]));
  EXPECT_EQ(sequences_[1]->state, SequenceState::waiting);
  EXPECT_EQ(sequences_[1]->num_computed, 0);
  EXPECT_EQ(sequences_[1]->request.num_preemptions, 1);
  EXPECT_EQ(kv_.num_free_pages(), 0);
  kv_.check_invariants();
}

TEST_F(PlacerTest, AVictimAlreadyPlacedLeavesThePlan) {
  add(15);
  add(15);
  roster_.admit(0);
  place({15, 15});
  plan_.items = {{sequences_[1], 15, 2}, {sequences_[0], 15, 40}};
  place_batch(plan_, roster_, kv_, exhausted_);
  EXPECT_THAT(planned(), ElementsAre(sequences_[0]));
  EXPECT_EQ(kv_.num_free_pages(), 0);
}

TEST_F(PlacerTest, TheLastRankedPreemptsItself) {
  add(15);
  add(15);
  roster_.admit(0);
  place({15, 15});
  place({1, 40});
  EXPECT_THAT(planned(), ElementsAre(sequences_[0]));
  EXPECT_EQ(sequences_[1]->state, SequenceState::waiting);
  EXPECT_TRUE(exhausted_.empty());
}

TEST_F(PlacerTest, ASequenceTooBigForThePoolAloneIsExhausted) {
  add(15);
  roster_.admit(0);
  place({64});
  EXPECT_THAT(planned(), ElementsAre(sequences_[0]));
  place({1});
  EXPECT_TRUE(plan_.items.empty());
  EXPECT_THAT(exhausted_, ElementsAre(sequences_[0]));
  EXPECT_EQ(sequences_[0]->state, SequenceState::running) << "the engine ends it";
}

}  // namespace
}  // namespace pagoda
