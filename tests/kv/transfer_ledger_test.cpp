#include "kv/disk/transfer_ledger.h"

#include <gtest/gtest.h>

namespace pagoda {
namespace {

constexpr int64_t kMs = 1'000'000;

TransferLedger make_ledger(int32_t num_slots, int depth) {
  TransferLedger ledger(num_slots, depth);
  for (SlotId slot = 0; slot < num_slots; ++slot) ledger.slots().add_free(slot, SlotTable::Header::zero);
  return ledger;
}

TEST(TransferLedger, HalfOfTheDepthIsForReadsAlone) {
  TransferLedger ledger = make_ledger(8, 4);
  const auto first = ledger.begin_write();
  const auto second = ledger.begin_write();
  ASSERT_TRUE(first && second);
  EXPECT_FALSE(ledger.begin_write());
  ledger.end({PageTransfer::Kind::write, true, first->slot}, 0);
  ledger.end({PageTransfer::Kind::write, true, second->slot}, 0);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(ledger.begin_read(first->slot, 0)) << i;
  EXPECT_FALSE(ledger.begin_read(first->slot, 0));
  EXPECT_FALSE(ledger.begin_write()) << "as many are under way as may be";
  ledger.end({PageTransfer::Kind::read, true, first->slot}, 1);
  EXPECT_TRUE(ledger.begin_write());
}

TEST(TransferLedger, WritesNeedSlots) {
  TransferLedger ledger = make_ledger(1, 8);
  const auto taken = ledger.begin_write();
  ASSERT_TRUE(taken);
  EXPECT_FALSE(ledger.begin_write());
  ledger.end({PageTransfer::Kind::write, true, taken->slot}, 0);
  ledger.slots().erase(taken->slot);
  EXPECT_TRUE(ledger.begin_write());
}

TEST(TransferLedger, OnlyReadsCountInTheRate) {
  TransferLedger ledger = make_ledger(2, 4);
  const auto taken = ledger.begin_write();
  ledger.end({PageTransfer::Kind::write, true, taken->slot}, 50 * kMs);
  EXPECT_EQ(ledger.seconds_per_read(), 0);
  ledger.begin_read(taken->slot, 60 * kMs);
  ledger.end({PageTransfer::Kind::read, true, taken->slot}, 63 * kMs);
  EXPECT_DOUBLE_EQ(ledger.seconds_per_read(), 0.003);
}

TEST(TransferLedger, TwoTransfersAreTheLeast) {
  TransferLedger ledger = make_ledger(4, 0);
  EXPECT_EQ(ledger.depth(), 2);
  EXPECT_TRUE(ledger.begin_write());
  EXPECT_FALSE(ledger.begin_write());
}

}  // namespace
}  // namespace pagoda
