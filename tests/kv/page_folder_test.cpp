// What a person learns of a folder of pages.
#include "kv/disk/page_folder.h"

#include "kv/disk/segment_files.h"
#include "kv/disk_fixture.h"
#include "support/faulty_files.h"

namespace pagoda::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::string kFolder = "/disk";

class PageFolderTest : public ::testing::Test {
 protected:
  // Four pages of one fingerprint, two of another, in the first six of twelve slots; three files.
  void SetUp() override {
    write(kFingerprint, make_chain(4));
    write({9, 9}, make_chain(2, 50));
  }
  void write(const Digest& fingerprint, const std::vector<PageIdentity>& identities) {
    DiskStoreOptions options = store_options(kFolder, 12);
    options.fingerprint = fingerprint;
    auto store = DiskPageStore::open(options, files_, pages_);
    ASSERT_TRUE(store) << store.error().message;
    for (const auto& [slot, identity] : StoreDriver(**store, pages_).write_all(identities))
      EXPECT_NE(slot, kNoSlot);
  }
  std::byte& byte_of_slot(SlotId slot, size_t at) {
    const auto index = static_cast<size_t>(slot % 5);
    return files_.bytes(
        segment_path(kFolder, slot / 5))[kHeaderBytes + index * slot_bytes_of(kPageBytes) + at];
  }

  FaultyFiles files_{1};
  TestPages pages_{4};
};

TEST_F(PageFolderTest, InspectCounts) {
  const auto info = inspect_page_folder(files_, kFolder);
  ASSERT_TRUE(info) << info.error().message;
  EXPECT_EQ(info->page_bytes, kPageBytes);
  EXPECT_EQ(info->num_slots, 12);
  EXPECT_EQ(info->num_pages(), 6);
  EXPECT_EQ(info->num_damaged, 0);
  EXPECT_EQ(info->num_files, 3);
  EXPECT_EQ(info->file_bytes, store_options(kFolder, 12).bytes);
  ASSERT_EQ(info->fingerprints.size(), 2u);
  EXPECT_EQ(info->fingerprints[0].fingerprint, kFingerprint);
  EXPECT_EQ(info->fingerprints[0].num_pages, 4);
  EXPECT_EQ(info->fingerprints[0].oldest_generation, 0u);
  EXPECT_EQ(info->fingerprints[0].newest_generation, 3u);
  EXPECT_EQ(info->fingerprints[1].oldest_generation, 4u) << "generations go on in the next process";
  EXPECT_EQ(info->fingerprints[1].newest_generation, 5u);
}

TEST_F(PageFolderTest, InspectWorksWhileAProcessHasTheFolder) {
  const auto store = DiskPageStore::open(store_options(kFolder, 12), files_, pages_);
  ASSERT_TRUE(store);
  EXPECT_TRUE(inspect_page_folder(files_, kFolder));
  EXPECT_THAT(verify_page_folder(files_, kFolder, {}).error().message,
              HasSubstr("a running process uses it"));
  EXPECT_THAT(clear_page_folder(files_, kFolder).error().message, HasSubstr("a running process uses it"));
}

TEST_F(PageFolderTest, VerifyNamesWhatIsBad) {
  double last = 0;
  auto check = verify_page_folder(files_, kFolder, [&](double fraction) { last = fraction; });
  ASSERT_TRUE(check) << check.error().message;
  EXPECT_EQ(check->num_pages, 6);
  EXPECT_EQ(last, 1.0);
  EXPECT_THAT(check->problems, IsEmpty());
  byte_of_slot(1, kHeaderBytes + 777) ^= std::byte{1};
  byte_of_slot(5, 100) ^= std::byte{1};
  check = verify_page_folder(files_, kFolder, {});
  ASSERT_TRUE(check) << check.error().message;
  EXPECT_EQ(check->num_pages, 6);
  const size_t at = kHeaderBytes + slot_bytes_of(kPageBytes);
  EXPECT_THAT(check->problems,
              ElementsAre(HasSubstr(segment_path(kFolder, 1) + ": the header at 4096 is damaged"),
                          fmt::format("{}: the page at {} is damaged", segment_path(kFolder, 0), at)));
  EXPECT_EQ(inspect_page_folder(files_, kFolder)->num_damaged, 1);
}

TEST_F(PageFolderTest, ClearRemovesPagesOnly) {
  auto stranger = files_.open(kFolder + "/notes.txt", OpenMode::create);
  ASSERT_TRUE(stranger);
  const auto removal = clear_page_folder(files_, kFolder);
  ASSERT_TRUE(removal) << removal.error().message;
  EXPECT_EQ(removal->num_files, 3);
  EXPECT_EQ(removal->num_bytes, store_options(kFolder, 12).bytes);
  EXPECT_THAT(*files_.list(kFolder), ElementsAre("notes.txt"));
  EXPECT_EQ(clear_page_folder(files_, kFolder).error().code, ErrorCode::not_found);
  EXPECT_EQ(inspect_page_folder(files_, kFolder).error().code, ErrorCode::not_found);
  EXPECT_EQ(verify_page_folder(files_, kFolder, {}).error().code, ErrorCode::not_found);
}

TEST_F(PageFolderTest, AFileOfSomethingElseIsAnError) {
  files_.bytes(segment_path(kFolder, 1))[3] ^= std::byte{1};
  EXPECT_EQ(inspect_page_folder(files_, kFolder).error().code, ErrorCode::corrupt);
  EXPECT_TRUE(clear_page_folder(files_, kFolder)) << "it still can be removed";
}

}  // namespace
}  // namespace pagoda::testing
