// `pagoda cache` on a folder that a store has filled.
#include <fstream>

#include <gtest/gtest.h>
#include <boost/json.hpp>

#include "kv/disk_fixture.h"
#include "program.h"

namespace pagoda::testing {
namespace {

class CacheCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    auto store = DiskPageStore::open(store_options(folder_, 8), system_files(), pages_);
    ASSERT_TRUE(store) << store.error().message;
    StoreDriver(**store, pages_).write_all(make_chain(3));
  }
  void damage_first_page() {
    std::fstream file(folder_ + "/pagoda-kv-000000.pages", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(2 * kHeaderBytes + 5);
    file.put('x');
    file.put('y');
  }

  TemporaryFolder parent_;
  std::string folder_ = parent_.file("kv");
  TestPages pages_{4};
};

TEST_F(CacheCommand, InspectSaysWhatIsThere) {
  const ProgramResult text = run_program({"cache", "inspect", folder_});
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_NE(text.out.find("3 used of 8"), std::string::npos) << text.out;
  const ProgramResult result = run_program({"cache", "inspect", folder_, "--json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const boost::json::value json = boost::json::parse(result.out);
  EXPECT_EQ(json.at("pages").to_number<int>(), 3);
  EXPECT_EQ(json.at("slots").to_number<int>(), 8);
  EXPECT_EQ(json.at_pointer("/fingerprints/0/fingerprint").as_string(), "00000000000056780000000000001234");
  EXPECT_EQ(json.at_pointer("/fingerprints/0/newest_generation").to_number<int>(), 2);
}

TEST_F(CacheCommand, VerifyFailsWhereAPageIsBad) {
  const ProgramResult good = run_program({"cache", "verify", folder_});
  EXPECT_EQ(good.exit_code, 0) << good.err;
  EXPECT_NE(good.out.find("3 pages read"), std::string::npos) << good.out;
  damage_first_page();
  const ProgramResult bad = run_program({"cache", "verify", folder_});
  EXPECT_EQ(bad.exit_code, 1);
  EXPECT_NE(bad.out.find("pagoda-kv-000000.pages: the page at 4096 is damaged"), std::string::npos)
      << bad.out;
  EXPECT_NE(bad.err.find("1 of 3 pages are bad"), std::string::npos) << bad.err;
}

TEST_F(CacheCommand, ClearEmptiesTheFolder) {
  const ProgramResult result = run_program({"cache", "clear", folder_});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("in 2 files"), std::string::npos) << result.out;
  const ProgramResult again = run_program({"cache", "clear", folder_});
  EXPECT_EQ(again.exit_code, 1);
  EXPECT_NE(again.err.find("there is no KV cache"), std::string::npos) << again.err;
}

TEST_F(CacheCommand, LeavesWhatAProcessUses) {
  const auto store = DiskPageStore::open(store_options(folder_, 8), system_files(), pages_);
  ASSERT_TRUE(store);
  for (const char* action : {"verify", "clear"}) {
    const ProgramResult result = run_program({"cache", action, folder_});
    EXPECT_EQ(result.exit_code, 1) << action;
    EXPECT_NE(result.err.find("a running process uses it"), std::string::npos) << result.err;
  }
  EXPECT_EQ(run_program({"cache", "inspect", folder_}).exit_code, 0);
}

TEST(BenchKvDiskCommand, MeasuresBothWays) {
  const TemporaryFolder folder;
  const ProgramResult result = run_program({"bench", "kv-disk", folder.file(""), "--size", "1MiB",
                                            "--page-size", "20000", "--repeat", "1", "--json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const boost::json::value json = boost::json::parse(result.out.substr(0, result.out.find('\n')));
  EXPECT_GT(json.at("pages_per_second").to_number<double>(), 0);
  EXPECT_TRUE(std::filesystem::is_empty(folder.file("")));
  EXPECT_EQ(run_program({"bench", "kv-disk", folder.file(""), "--page-size", "0"}).exit_code, 2);
  EXPECT_EQ(run_program({"bench", "kv-disk", folder.file("none")}).exit_code, 1);
}

}  // namespace
}  // namespace pagoda::testing
