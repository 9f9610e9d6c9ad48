// A store on a disk that fails or loses power: it may forget, but never errs.
#include <optional>
#include <random>
#include <set>

#include "kv/disk/segment_files.h"
#include "kv/disk_fixture.h"
#include "support/faulty_files.h"

namespace pagoda::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const std::string kFolder = "/disk";
constexpr int kNumSlots = 8;

// What a cache in front of the store would know: which pages are durable, and who descends from whom.
struct Known {
  std::map<SlotId, PageIdentity> durable;
  std::map<SlotId, PageIdentity> erased;  // may still be found

  bool has_key(const Digest& key) const {
    return std::ranges::any_of(durable, [&](const auto& entry) { return entry.second.key == key; });
  }
  bool is_leaf(const Digest& key) const {
    return std::ranges::none_of(durable, [&](const auto& entry) { return entry.second.parent == key; });
  }
};

class Workload {
 public:
  // No two of different `first_token` write the same pages, if these are far apart.
  Workload(FaultyFiles& files, uint64_t seed, int32_t first_token = 1)
      : files_(files), random_(seed), next_token_(first_token) {}

  // Writes, reads and erases until it has done so or the power fails.
  void run(int num_steps) {
    auto store = DiskPageStore::open(store_options(kFolder, kNumSlots), files_, pages_);
    if (!store) {
      EXPECT_TRUE(files_.is_dead()) << store.error().message;
      return;
    }
    take_over(**store);
    for (int step = 0; step < num_steps && !files_.is_dead(); ++step) {
      if ((*store)->num_free_slots() < 3) erase_leaf(**store);
      write_some(**store);
      read_one(**store);
    }
  }

  Known known;

 private:
  template <class Map>
  auto pick(const Map& map) {
    return std::next(map.begin(), static_cast<std::ptrdiff_t>(random_() % map.size()));
  }

  // What can be read of what the store found; the rest and its descendants are given up.
  void take_over(DiskPageStore& store) {
    StoreDriver driver(store, pages_);
    for (const auto& [slot, identity] : store.take_contents()) {
      if (identity.parent != kRoot && !known.has_key(identity.parent)) {
        known.erased[slot] = identity;
        store.erase(slot);
      } else if (driver.reads_back(slot, identity)) {
        known.durable[slot] = identity;
      }
    }
  }

  void erase_leaf(DiskPageStore& store) {
    while (!known.durable.empty()) {
      const auto entry = pick(known.durable);
      if (!known.is_leaf(entry->second.key)) continue;
      known.erased.insert_or_assign(entry->first, entry->second);
      store.erase(entry->first);
      known.durable.erase(entry->first);
      return;
    }
  }

  void write_some(DiskPageStore& store) {
    StoreDriver driver(store, pages_);
    std::map<SlotId, PageIdentity> begun;
    for (PageId page = 0; page < 3; ++page) {
      const Digest parent =
          known.durable.empty() || random_() % 4 == 0 ? kRoot : pick(known.durable)->second.key;
      const PageIdentity identity = make_identity(parent, next_token_++);
      const SlotId slot = driver.begin_write(identity, page);
      if (slot == kNoSlot) break;
      known.erased.erase(slot);  // from here on it holds the one page, the other or none
      begun[slot] = identity;
    }
    for (const PageTransfer& transfer : driver.drain()) {
      EXPECT_TRUE(transfer.ok || files_.is_dead());
      if (transfer.ok) known.durable[transfer.slot] = begun.at(transfer.slot);
    }
  }

  void read_one(DiskPageStore& store) {
    if (known.durable.empty()) return;
    const auto entry = pick(known.durable);
    const bool ok = StoreDriver(store, pages_).reads_back(entry->first, entry->second);
    EXPECT_TRUE(ok || files_.is_dead());
  }

  FaultyFiles& files_;
  std::mt19937_64 random_;
  TestPages pages_{4};
  int32_t next_token_;
};

// All that was durable is there, all that is there is right. Gives what was found.
void expect_all_durable(FaultyFiles& files, const Known& known) {
  TestPages pages(4);
  auto store = DiskPageStore::open(store_options(kFolder, kNumSlots), files, pages);
  ASSERT_TRUE(store) << store.error().message;
  EXPECT_EQ((*store)->num_slots(), kNumSlots);
  StoreDriver driver(**store, pages);
  std::set<Digest, decltype([](const Digest& a, const Digest& b) { return a.low < b.low; })> keys = {kRoot};
  std::set<SlotId> slots;
  for (const auto& [slot, identity] : (*store)->take_contents()) {
    EXPECT_TRUE(keys.contains(identity.parent)) << "a child before its parent";
    EXPECT_TRUE(keys.insert(identity.key).second) << "a key twice";
    EXPECT_EQ(identity.key, page_key(identity.parent, identity.tokens));
    const bool ok = driver.reads_back(slot, identity);
    const auto durable = known.durable.find(slot);
    if (durable == known.durable.end()) continue;
    EXPECT_EQ(identity, durable->second) << "slot " << slot;
    EXPECT_TRUE(ok) << "slot " << slot << " was durable";
    slots.insert(slot);
  }
  EXPECT_THAT(slots, SizeIs(known.durable.size()));
}

TEST(DiskKillTest, WhatWasDurableSurvivesAtEveryWrite) {
  constexpr int kSteps = 9;
  int64_t num_kills = 0;
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    for (int64_t kill = 0;; ++kill) {
      FaultyFiles files(seed * 1000 + static_cast<uint64_t>(kill));
      Workload workload(files, seed);
      files.kill_after(kill);
      workload.run(kSteps);
      const bool was_killed = files.is_dead();
      files.restart();
      expect_all_durable(files, workload.known);
      if (::testing::Test::HasFailure()) FAIL() << "seed " << seed << ", killed at change " << kill;
      if (!was_killed) break;
      ++num_kills;
    }
  }
  EXPECT_GT(num_kills, 100);
}

TEST(DiskKillTest, SurvivesOneLossOfPowerAfterTheOther) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    FaultyFiles files(seed);
    for (int life = 0; life < 8; ++life) {
      Workload workload(files, seed * 100 + static_cast<uint64_t>(life), 1 + 1000 * life);
      files.kill_after(static_cast<int64_t>((seed * 31 + static_cast<uint64_t>(life) * 17) % 60));
      workload.run(6);
      files.restart();
      expect_all_durable(files, workload.known);
      if (::testing::Test::HasFailure()) FAIL() << "seed " << seed << ", life " << life;
    }
  }
}

class DiskFaultTest : public ::testing::Test {
 protected:
  void open(int num_slots = kNumSlots) {
    store_.reset();
    auto store = DiskPageStore::open(store_options(kFolder, num_slots), files_, pages_);
    ASSERT_TRUE(store) << store.error().message;
    store_ = std::move(*store);
    driver_.emplace(*store_, pages_);
  }

  FaultyFiles files_{1};
  TestPages pages_{16};
  std::unique_ptr<DiskPageStore> store_;
  std::optional<StoreDriver> driver_;
};

TEST_F(DiskFaultTest, FailedReadsAreMisses) {
  open();
  const auto stored = driver_->write_all(make_chain(4));
  files_.set({.reads_fail = true});
  EXPECT_FALSE(driver_->reads_back(stored[0].slot, stored[0].identity));
  files_.set({});
  EXPECT_TRUE(driver_->reads_back(stored[1].slot, stored[1].identity));
  EXPECT_EQ(store_->stats().read_errors, 1u);
  EXPECT_EQ(store_->stats().quarantined_slots, 1u);
  EXPECT_EQ(store_->num_free_slots(), kNumSlots - 4);
}

TEST_F(DiskFaultTest, ShortTransfersAreFinished) {
  files_.set({.is_short = true});
  open();
  const auto stored = driver_->write_all(make_chain(kNumSlots));
  for (const auto& [slot, identity] : stored) EXPECT_TRUE(driver_->reads_back(slot, identity));
  EXPECT_EQ(store_->stats().read_errors + store_->stats().write_errors, 0u);
}

TEST_F(DiskFaultTest, StopsWritingAfterFailuresInARow) {
  open();
  const auto stored = driver_->write_all(make_chain(2));
  const PageIdentity next = make_identity(kRoot, 50);
  for (FaultyFiles::Faults faults : {FaultyFiles::Faults{.writes_fail = true}, {.is_full = true}}) {
    files_.set(faults);
    EXPECT_EQ(driver_->write(next), kNoSlot);
    EXPECT_GT(store_->num_free_slots(), 0) << "one failure is not the end";
  }
  files_.set({.syncs_fail = true});
  EXPECT_EQ(driver_->write(next), kNoSlot);
  EXPECT_EQ(store_->num_free_slots(), 0);
  files_.set({});
  EXPECT_EQ(store_->write(next, 0, 0), kNoSlot) << "for good";
  EXPECT_TRUE(driver_->reads_back(stored[1].slot, stored[1].identity)) << "what is there is still read";
  EXPECT_EQ(store_->stats().write_errors, 3u);
}

TEST_F(DiskFaultTest, ASuccessEndsTheRowOfFailures) {
  open(20);
  for (int i = 0; i < 4; ++i) {
    files_.set({.writes_fail = true});
    EXPECT_EQ(driver_->write(make_identity(kRoot, 50)), kNoSlot);
    files_.set({});
    EXPECT_NE(driver_->write(make_identity(kRoot, 60 + i)), kNoSlot);
  }
  EXPECT_EQ(store_->stats().write_errors, 4u);
  EXPECT_EQ(store_->num_free_slots(), 12);
}

TEST_F(DiskFaultTest, AFailedWriteIsNeverFoundWrong) {
  open();
  const auto chain = make_chain(3);
  driver_->write_all(chain);
  files_.set({.syncs_fail = true});
  const PageIdentity lost = make_identity(chain[2].key, 50);
  EXPECT_EQ(driver_->write(lost), kNoSlot);
  store_.reset();
  files_.restart();
  open();
  for (const auto& [slot, identity] : store_->take_contents()) driver_->reads_back(slot, identity);
}

TEST_F(DiskFaultTest, AFullDiskGivesFewerSlots) {
  open(5);
  const auto chain = make_chain(3);
  driver_->write_all(chain);
  store_.reset();
  files_.set({.is_full = true});
  open(20);
  EXPECT_EQ(store_->num_slots(), 5);
  EXPECT_THAT(store_->take_contents(), SizeIs(3));
}

TEST_F(DiskFaultTest, AFullDiskWithNothingOnItIsAnError) {
  files_.set({.is_full = true});
  const auto store = DiskPageStore::open(store_options(kFolder), files_, pages_);
  ASSERT_FALSE(store);
  EXPECT_THAT(store.error().message, HasSubstr("No space left on device"));
}

TEST_F(DiskFaultTest, AReadOnlyDiskIsRead) {
  open();
  const auto chain = make_chain(4);
  driver_->write_all(chain);
  store_.reset();
  files_.set({.is_read_only = true});
  open();
  const auto found = store_->take_contents();
  EXPECT_THAT(found, SizeIs(4));
  for (const auto& [slot, identity] : found) EXPECT_TRUE(driver_->reads_back(slot, identity));
  EXPECT_EQ(store_->num_free_slots(), 0);
  EXPECT_EQ(store_->write(make_identity(kRoot, 50), 0, 0), kNoSlot);
  PageIdentity wrong = found[0].identity;
  wrong.tokens[0] ^= 1;
  EXPECT_FALSE(driver_->reads_back(found[0].slot, wrong));
}

TEST_F(DiskFaultTest, UnreadableHeadersAreOutOfUse) {
  open();
  driver_->write_all(make_chain(4));
  store_.reset();
  files_.set({.reads_fail = true});
  const auto store = DiskPageStore::open(store_options(kFolder, kNumSlots), files_, pages_);
  ASSERT_FALSE(store);
  EXPECT_THAT(store.error().message, HasSubstr("Input/output error"));
  files_.set({});
  open();
  EXPECT_THAT(store_->take_contents(), SizeIs(4)) << "and nothing was deleted for it";
}

// One byte of the folder's files is flipped at a time; whatever it is of.
TEST_F(DiskFaultTest, FlippedBytesAreMisses) {
  open();
  const auto chain = make_chain(kNumSlots);
  driver_->write_all(chain);
  store_.reset();
  files_.restart();
  const std::string path = segment_path(kFolder, 0);
  const std::vector<std::byte> intact = files_.bytes(path);
  size_t num_missed = 0;
  for (size_t at = 0; at < intact.size(); at += 211) {
    files_.bytes(path) = intact;
    files_.bytes(path)[at] ^= std::byte{1} << (at % 8);
    open();
    size_t num_read = 0;
    for (const auto& [slot, identity] : store_->take_contents())
      num_read += driver_->reads_back(slot, identity) ? 1 : 0;
    const size_t in_slot = at < kHeaderBytes ? 0 : (at - kHeaderBytes) % slot_bytes_of(kPageBytes);
    const bool is_padding = at >= kHeaderBytes && in_slot >= kHeaderBytes + kPageBytes;
    if (is_padding)
      EXPECT_EQ(num_read, chain.size()) << at;
    else
      EXPECT_LT(num_read, chain.size()) << at;
    num_missed += chain.size() - num_read;
  }
  EXPECT_GT(num_missed, 100u);
}

TEST_F(DiskFaultTest, ABadSlotIsNotGivenOutAgain) {
  open();
  const auto stored = driver_->write_all(make_chain(kNumSlots));
  for (std::byte& byte : files_.bytes(segment_path(kFolder, 0))) byte ^= std::byte{1};
  int num_bad = 0;
  for (const auto& [slot, identity] : stored)
    if (!driver_->reads_back(slot, identity)) ++num_bad;
  EXPECT_EQ(num_bad, 5) << "those of the first file";
  EXPECT_EQ(store_->stats().quarantined_slots, 5u);
  EXPECT_EQ(store_->num_free_slots(), 0);
  store_->erase(stored[7].slot);
  EXPECT_EQ(driver_->write(make_identity(kRoot, 50)), stored[7].slot);
}

TEST_F(DiskFaultTest, ASecondOneIsRefusedUntilTheFirstEnds) {
  open();
  EXPECT_FALSE(DiskPageStore::open(store_options(kFolder), files_, pages_));
  store_.reset();
  EXPECT_TRUE(DiskPageStore::open(store_options(kFolder), files_, pages_));
}

}  // namespace
}  // namespace pagoda::testing
