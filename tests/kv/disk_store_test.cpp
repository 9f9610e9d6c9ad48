// A store over real files: what it says is written comes back, also in its next life.
#include <atomic>
#include <filesystem>
#include <optional>
#include <set>

#include "io/io_queue.h"
#include "kv/disk/record.h"
#include "kv/disk_fixture.h"
#include "support/temp_folder.h"

namespace pagoda::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

std::vector<Digest> keys_of(const std::vector<StoredPage>& pages) {
  std::vector<Digest> keys;
  for (const StoredPage& page : pages) keys.push_back(page.identity.key);
  return keys;
}
std::vector<Digest> keys_of(const std::vector<PageIdentity>& identities) {
  std::vector<Digest> keys;
  for (const PageIdentity& identity : identities) keys.push_back(identity.key);
  return keys;
}

class DiskStoreTest : public ::testing::TestWithParam<DiskIo> {
 protected:
  void SetUp() override {
    if (GetParam() == DiskIo::uring && !make_uring_io_queue(4)) GTEST_SKIP() << "no io_uring here";
  }
  void open(const DiskStoreOptions& options) {
    store_.reset();
    auto store = DiskPageStore::open(options, system_files(), pages_);
    ASSERT_TRUE(store) << store.error().message;
    store_ = std::move(*store);
    driver_.emplace(*store_, pages_);
    EXPECT_EQ(store_->uses_uring(), GetParam() == DiskIo::uring);
  }
  void open(int num_slots = 16) { open(options(num_slots)); }
  DiskStoreOptions options(int num_slots = 16) const {
    return store_options(folder_.path() + "/kv", num_slots, GetParam());
  }

  TempFolder folder_;
  TestPages pages_{64};
  std::unique_ptr<DiskPageStore> store_;
  std::optional<StoreDriver> driver_;
};

TEST_P(DiskStoreTest, GivesBackWhatWasWritten) {
  open();
  EXPECT_EQ(store_->num_slots(), 16);
  EXPECT_EQ(store_->num_free_slots(), 16);
  EXPECT_THAT(store_->take_contents(), IsEmpty());
  const auto stored = driver_->write_all(make_chain(16));
  EXPECT_EQ(store_->num_free_slots(), 0);
  std::set<SlotId> slots;
  for (const auto& [slot, identity] : stored) {
    EXPECT_TRUE(driver_->reads_back(slot, identity));
    slots.insert(slot);
  }
  EXPECT_THAT(slots, SizeIs(16));
  EXPECT_EQ(driver_->write(make_identity(kRoot, 99)), kNoSlot) << "there was no slot left";
  const DiskStoreStats stats = store_->stats();
  EXPECT_EQ(stats.pages_written, 16u);
  EXPECT_EQ(stats.pages_read, 16u);
  EXPECT_EQ(stats.bytes_read, 16 * slot_bytes_of(kPageBytes));
  EXPECT_EQ(stats.write_errors + stats.read_errors + stats.quarantined_slots, 0u);
}

TEST_P(DiskStoreTest, FindsItsPagesAgain) {
  open();
  const auto chain = make_chain(9);
  driver_->write_all(chain);
  open();
  const auto found = store_->take_contents();
  EXPECT_EQ(keys_of(found), keys_of(chain));
  EXPECT_THAT(store_->take_contents(), IsEmpty()) << "only the first call returns it";
  EXPECT_EQ(store_->num_free_slots(), 7);
  for (const auto& [slot, identity] : found) EXPECT_TRUE(driver_->reads_back(slot, identity));
}

TEST_P(DiskStoreTest, ManyTransfersAtOnce) {
  open(40);
  const auto chain = make_chain(40);
  std::map<uint64_t, SlotId> slots;
  int refused = 0;
  for (uint64_t next = 0; next < chain.size();) {
    const SlotId slot = driver_->begin_write(chain[next], static_cast<PageId>(next), next);
    if (slot != kNoSlot) {
      slots[next++] = slot;
      continue;
    }
    ++refused;
    for (const PageTransfer& transfer : driver_->drain()) EXPECT_TRUE(transfer.ok);
  }
  for (const PageTransfer& transfer : driver_->drain()) EXPECT_EQ(transfer.slot, slots[transfer.tag]);
  EXPECT_GE(refused, 4) << "half of 16 buffers are for writes";
  for (PageId page = 0; page < 40; ++page) pages_.wipe(page);
  for (uint64_t next = 0; next < chain.size();) {
    if (driver_->begin_read(slots[next], chain[next], static_cast<PageId>(next), next))
      ++next;
    else
      for (const PageTransfer& transfer : driver_->drain()) EXPECT_TRUE(transfer.ok);
  }
  for (const PageTransfer& transfer : driver_->drain()) EXPECT_TRUE(transfer.ok);
  for (uint64_t i = 0; i < chain.size(); ++i)
    EXPECT_TRUE(pages_.holds(static_cast<PageId>(i), chain[i].key)) << i;
}

TEST_P(DiskStoreTest, AnErasedSlotIsUsedAgain) {
  open(5);
  auto stored = driver_->write_all(make_chain(5));
  store_->erase(stored[4].slot);
  EXPECT_EQ(store_->num_free_slots(), 1);
  const PageIdentity other = make_identity(stored[3].identity.key, 77);
  const SlotId slot = driver_->write(other);
  EXPECT_EQ(slot, stored[4].slot);
  EXPECT_TRUE(driver_->reads_back(slot, other));
  open(5);
  stored[4].identity = other;
  EXPECT_EQ(keys_of(store_->take_contents()), keys_of(stored));
}

TEST_P(DiskStoreTest, ReadsOnlyWhatWasMeant) {
  open();
  const auto stored = driver_->write_all(make_chain(2));
  PageIdentity other_tokens = stored[0].identity;
  other_tokens.tokens[15] ^= 1;
  EXPECT_FALSE(driver_->reads_back(stored[0].slot, other_tokens));
  PageIdentity other_parent = stored[1].identity;
  other_parent.parent = kRoot;
  EXPECT_FALSE(driver_->reads_back(stored[1].slot, other_parent));
  EXPECT_EQ(store_->stats().quarantined_slots, 2u);
  EXPECT_EQ(store_->num_free_slots(), 14) << "a slot that failed is not given out again";
  open();
  EXPECT_THAT(store_->take_contents(), IsEmpty()) << "nor promised by the next process";
  EXPECT_EQ(store_->num_free_slots(), 16);
}

TEST_P(DiskStoreTest, OtherFingerprintsRecordsAreFree) {
  open();
  driver_->write_all(make_chain(16));
  DiskStoreOptions other = options();
  other.fingerprint = {1, 1};
  other.roots = {root_key(other.fingerprint, {})};
  open(other);
  EXPECT_THAT(store_->take_contents(), IsEmpty());
  EXPECT_EQ(store_->num_free_slots(), 16);
  const PageIdentity page = make_identity(other.roots[0], 5);
  const SlotId slot = driver_->write(page);
  EXPECT_TRUE(driver_->reads_back(slot, page));
}

TEST_P(DiskStoreTest, OrphansAreFree) {
  open();
  const auto chain = make_chain(4);
  const auto stored = driver_->write_all(chain);
  driver_->write_all(make_chain(2, 50, {7, 7}));
  store_->erase(stored[1].slot);
  driver_->write(make_identity(kRoot, 60));  // in the erased slot
  open();
  EXPECT_THAT(keys_of(store_->take_contents()), ElementsAre(chain[0].key, make_identity(kRoot, 60).key));
  EXPECT_EQ(store_->num_free_slots(), 14);
}

TEST_P(DiskStoreTest, GrowsAndShrinks) {
  open(7);
  const auto chain = make_chain(7);
  driver_->write_all(chain);
  open(18);
  EXPECT_EQ(store_->num_slots(), 18);
  EXPECT_EQ(keys_of(store_->take_contents()), keys_of(chain));
  EXPECT_EQ(store_->num_free_slots(), 11);
  EXPECT_NE(driver_->write(make_identity(chain[6].key, 80)), kNoSlot);
  open(3);
  EXPECT_EQ(store_->num_slots(), 3);
  const auto kept = store_->take_contents();
  EXPECT_THAT(kept, SizeIs(3));
  for (const auto& [slot, identity] : kept) EXPECT_TRUE(driver_->reads_back(slot, identity));
  uint64_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder_.path() + "/kv"))
    bytes += entry.file_size();
  EXPECT_EQ(bytes, options(3).bytes);
}

TEST_P(DiskStoreTest, PagesOfAnotherSizeAreReplaced) {
  open();
  driver_->write_all(make_chain(16));
  store_.reset();
  TestPages larger(4, 2 * kPageBytes);
  auto store = DiskPageStore::open(options(), system_files(), larger);
  ASSERT_TRUE(store) << store.error().message;
  EXPECT_THAT((*store)->take_contents(), IsEmpty());
  StoreDriver driver(**store, larger);
  const PageIdentity page = make_identity(kRoot, 1);
  EXPECT_TRUE(driver.reads_back(driver.write(page), page));
}

TEST_P(DiskStoreTest, ASecondProcessIsRefused) {
  open();
  const auto second = DiskPageStore::open(options(), system_files(), pages_);
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, HasSubstr(folder_.path() + "/kv: is the KV cache of another process"));
  store_.reset();
  open();
}

TEST_P(DiskStoreTest, RoomForNoPageIsAnError) {
  DiskStoreOptions small = options();
  small.bytes = 5000;
  const auto store = DiskPageStore::open(small, system_files(), pages_);
  ASSERT_FALSE(store);
  EXPECT_THAT(store.error().message, HasSubstr("have no room for a page"));
}

TEST_P(DiskStoreTest, NobodyElseMayReadTheFiles) {
  open();
  namespace fs = std::filesystem;
  const std::string folder = folder_.path() + "/kv";
  EXPECT_EQ(fs::status(folder).permissions(), fs::perms::owner_all);
  for (const auto& entry : fs::directory_iterator(folder))
    EXPECT_EQ(entry.status().permissions(), fs::perms::owner_read | fs::perms::owner_write) << entry.path();
}

TEST_P(DiskStoreTest, TellsWhenATransferHasEnded) {
  std::atomic<int> calls{0};
  DiskStoreOptions with_call = options();
  with_call.on_done = [&calls] { ++calls; };
  open(with_call);
  driver_->write_all(make_chain(3));
  store_.reset();
  EXPECT_EQ(calls, 3);
}

TEST_P(DiskStoreTest, EndsInTheMiddleOfTransfers) {
  open();
  const auto chain = make_chain(6);
  for (size_t i = 0; i < chain.size(); ++i) driver_->begin_write(chain[i], static_cast<PageId>(i), i);
  open();
  EXPECT_EQ(keys_of(store_->take_contents()), keys_of(chain)) << "what was begun is finished";
}

INSTANTIATE_TEST_SUITE_P(Io, DiskStoreTest, ::testing::Values(DiskIo::uring, DiskIo::threads),
                         [](const auto& parameter) {
                           return parameter.param == DiskIo::uring ? "uring" : "threads";
                         });

}  // namespace
}  // namespace pagoda::testing
