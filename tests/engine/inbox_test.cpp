#include "engine/inbox.h"

#include <thread>

#include <gtest/gtest.h>

#include "support/sequence_factory.h"

namespace pagoda {
namespace {

class InboxTest : public ::testing::Test {
 protected:
  Result<RequestId> push() { return inbox_.push(factory_.make_request({})); }
  testing::SequenceFactory factory_;
  Inbox inbox_{3, /*seed=*/1};
  Inbox::Mail mail_;
};

TEST_F(InboxTest, HandsOverInOrderAndNumbersRequests) {
  EXPECT_EQ(push(), 1u);
  EXPECT_EQ(push(), 2u);
  inbox_.cancel(1);
  inbox_.take(mail_);
  ASSERT_EQ(mail_.arrivals.size(), 2u);
  EXPECT_EQ(mail_.arrivals[0]->id, 1u);
  EXPECT_EQ(mail_.arrivals[1]->id, 2u);
  EXPECT_LT(mail_.arrivals[0]->leader().id, mail_.arrivals[1]->leader().id);
  EXPECT_NE(mail_.arrivals[0]->leader().seed, mail_.arrivals[1]->leader().seed);
  EXPECT_EQ(mail_.cancels, std::vector<RequestId>{1});
  EXPECT_FALSE(mail_.cancel_all);
}

TEST_F(InboxTest, IsBoundedByUnfinishedRequests) {
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(push());
  const auto refused = push();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::overloaded);
  inbox_.take(mail_);
  EXPECT_FALSE(push()) << "taking is not finishing";
  inbox_.on_finished(1);
  EXPECT_EQ(push(), 4u);
  EXPECT_EQ(inbox_.num_unfinished(), 3);
}

TEST_F(InboxTest, ClosedMeansOverloaded) {
  inbox_.close();
  const auto refused = push();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::overloaded);
}

TEST_F(InboxTest, WaitReturnsForMailAndForStop) {
  ASSERT_TRUE(push());
  EXPECT_TRUE(inbox_.wait());
  inbox_.take(mail_);
  std::thread sender([&] { inbox_.cancel(1); });
  EXPECT_TRUE(inbox_.wait());
  sender.join();
  std::thread stopper([&] { inbox_.stop(); });
  mail_ = {};
  inbox_.take(mail_);
  EXPECT_FALSE(inbox_.wait());
  stopper.join();
  EXPECT_TRUE(inbox_.stopped());
}

TEST_F(InboxTest, WaitUntilFinished) {
  EXPECT_TRUE(inbox_.wait_until_finished(std::chrono::nanoseconds(0)));
  ASSERT_TRUE(push());
  EXPECT_FALSE(inbox_.wait_until_finished(std::chrono::nanoseconds(0)));
  std::thread engine([&] { inbox_.on_finished(1); });
  EXPECT_TRUE(inbox_.wait_until_finished(std::chrono::hours(1)));
  engine.join();
}

}  // namespace
}  // namespace pagoda
